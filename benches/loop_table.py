"""Makes the table of benches/loop.sh from the raw output: medians over rounds, µs, and ratios."""

import json
import pathlib
import re
import statistics
import sys


def percentile(histogram, share):
    """Upper edge, in µs, of the 1 µs bucket in which `share` of all counts is reached."""
    wanted = share * sum(histogram.values())
    seen = 0
    for us, count in sorted(histogram.items()):
        seen += count
        if seen >= wanted:
            return us + 1
    return 0


def cyclictest(path):
    """Figures of one cyclictest run; wake-ups past the histogram's end make the maximum, exactly."""
    text = path.read_text()
    histogram = {int(us): int(n) for us, n in re.findall(r"^(\d+) (\d+)$", text, re.M) if int(n)}
    maximum = int(re.search(r"# Max Latencies: (\d+)", text)[1])
    overflows = int(re.search(r"# Histogram Overflows: (\d+)", text)[1])
    if overflows:
        histogram[maximum] = histogram.get(maximum, 0) + overflows
    return {"p50_us": percentile(histogram, 0.50), "p99_us": percentile(histogram, 0.99), "max_us": maximum}


THREADS = {"loop": "control", "bus": "device"}


def read(path):
    """The wake-up errors of both threads of a `sinew bench loop`, with its counted misses."""
    report = json.loads(path.read_text())
    return {
        name: report[key]["stats"]["wake_error"] | report[key]["counters"]["pace"] for name, key in THREADS.items()
    }


def main(folder):
    groups = {}
    for path in sorted(folder.glob("*.sinew.json")):
        name = path.name.removesuffix(".sinew.json")
        load, hz, _round = name.split("-")
        theirs = cyclictest(folder / f"{name}.cyclictest.txt")
        groups.setdefault((load, int(hz)), []).append((read(path), theirs))
    print(f"{'load':5} {'Hz':>5}  thread  figure   {'sinew':>8} {'cyclictest':>10}  ratio")
    for (load, hz), runs in sorted(groups.items(), key=lambda item: (item[0][0] != "idle", item[0][1])):
        for thread in THREADS:
            for key in ("p50_us", "p99_us", "max_us"):
                # The maximum is the worst of all rounds: outliers are what it is about.
                pick = max if key == "max_us" else statistics.median
                ours, theirs = pick([run[0][thread][key] for run in runs]), pick([run[1][key] for run in runs])
                ratio = ours / theirs if theirs else float("nan")
                print(f"{load:5} {hz:5}  {thread:6}  {key:8} {ours:8.1f} {theirs:10.1f}  {ratio:5.2f}")
            late, skipped = (sum(run[0][thread][key] for run in runs) for key in ("late", "skipped"))
            print(f"{load:5} {hz:5}  {thread:6}  {len(runs)} rounds: {late} late, {skipped} skipped, all counted")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
