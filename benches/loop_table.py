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


def main(folder):
    groups = {}
    for path in sorted(folder.glob("*.wake.json")):
        name = path.name.removesuffix(".wake.json")
        load, hz, _round = name.split("-")
        ours = json.loads(path.read_text())
        theirs = cyclictest(folder / f"{name}.cyclictest.txt")
        groups.setdefault((load, int(hz)), []).append((ours, theirs))
    print(f"{'load':5} {'Hz':>5} {'rounds':>6}  figure   {'sinew':>8} {'cyclictest':>10}  ratio")
    for (load, hz), runs in sorted(groups.items(), key=lambda item: (item[0][0] != "idle", item[0][1])):
        for key in ("p50_us", "p99_us", "max_us"):
            # The maximum is the worst of all rounds: outliers are what it is about.
            pick = max if key == "max_us" else statistics.median
            ours, theirs = (pick([run[side][key] for run in runs]) for side in (0, 1))
            ratio = ours / theirs if theirs else float("nan")
            print(f"{load:5} {hz:5} {len(runs):6}  {key:8} {ours:8.1f} {theirs:10.1f}  {ratio:5.2f}")
        late, skipped = (sum(run[0][key] for run in runs) for key in ("late", "skipped"))
        print(f"{load:5} {hz:5} {len(runs):6}  sinew late {late}, skipped {skipped}")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
