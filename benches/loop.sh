#!/usr/bin/env bash
# How late does Sinew's loop wake, compared with cyclictest?
#
# Runs both in turn (ours, theirs, ours, theirs, …) at 100 Hz and 1 kHz, on an idle machine and under
# `stress-ng --cpu 2`, and prints one table with ratios. Both use SCHED_FIFO 80, locked memory and
# /dev/cpu_dma_latency, which needs root or the limits that `wake` names. Figures in µs;
# cyclictest counts whole µs, so its figures are rounded up by at most one.
#
# usage: benches/loop.sh [seconds for each run, 10] [rounds, 3]
# Raw output goes to benches/results/loop/.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-10}
rounds=${2:-3}
results=benches/results/loop
mkdir -p "$results"

for tool in cyclictest stress-ng python3; do
    command -v "$tool" >/dev/null || { echo "$tool is missing: apt-get install rt-tests stress-ng python3" >&2; exit 1; }
done
cargo build --quiet -p sinew-runtime --example wake
wake=${CARGO_TARGET_DIR:-target}/debug/examples/wake

stress=
trap '[ -z "$stress" ] || kill "$stress" 2>/dev/null || true' EXIT

for load in idle busy; do
    if [ "$load" = busy ]; then
        stress-ng --quiet --cpu 2 &
        stress=$!
        sleep 1
    fi
    for hz in 100 1000; do
        for round in $(seq "$rounds"); do
            run=$results/$load-$hz-$round
            "$wake" --hz "$hz" --seconds "$seconds" --fifo >"$run.wake.json" 2>"$run.wake.txt"
            cyclictest -q -t1 -p80 -m -i $((1000000 / hz)) -l $((hz * seconds)) -h 100000 \
                | grep -v " 000000$" >"$run.cyclictest.txt"
        done
    done
done

python3 benches/loop_table.py "$results"
