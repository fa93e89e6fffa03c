#!/usr/bin/env bash
# How late does Sinew's loop wake, compared with cyclictest?
#
# `sinew bench loop` runs the whole control path (bus thread and loop thread, six emulated servos on a
# pseudo-terminal, no wire timing). It and cyclictest run in turn (ours, theirs, ours, …) at 100 Hz and
# 1 kHz, on an idle machine and under `stress-ng --cpu 2`; one table with ratios at the end. Both use
# SCHED_FIFO 80, locked memory and /dev/cpu_dma_latency, which needs root or matching limits. Figures in
# µs; cyclictest counts whole µs, so its figures are rounded up by at most one.
#
# usage: benches/loop.sh [seconds for each run, 10] [rounds, 3]
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-10}
rounds=${2:-3}
results=$(mktemp -d)

for tool in cyclictest stress-ng python3; do
    command -v "$tool" >/dev/null || { echo "$tool is missing: apt-get install rt-tests stress-ng python3" >&2; exit 1; }
done
cargo build --quiet -p sinew
sinew=${CARGO_TARGET_DIR:-target}/debug/sinew

stress=
trap '[ -z "$stress" ] || kill "$stress" 2>/dev/null || true; rm -rf "$results"' EXIT

for load in idle busy; do
    if [ "$load" = busy ]; then
        stress-ng --quiet --cpu 2 &
        stress=$!
        sleep 1
    fi
    for hz in 100 1000; do
        for round in $(seq "$rounds"); do
            run=$results/$load-$hz-$round
            "$sinew" bench loop --rate "$hz" --seconds "$seconds" --json >"$run.sinew.json"
            cyclictest -q -t1 -p80 -m -i $((1000000 / hz)) -l $((hz * seconds)) -h 100000 \
                | grep -v " 000000$" >"$run.cyclictest.txt"
        done
    done
done

python3 benches/loop_table.py "$results"
