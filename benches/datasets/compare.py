"""Sinew beside lerobot: reading, opening, recording. Started by `run`; see README.md here.

usage: compare.py --binary PATH [--parts random,…] [--rounds N] [--episodes N] [--out FOLDER]
"""

import argparse
import datetime
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
PARTS = ["random", "sequential", "shuffled", "open", "record"]
# Episodes and frames of each; Sinew's files hold one episode, lerobot's all of them.
SIZES = {"av1": (4, 150), "h264": (20, 30)}
TOTAL = 600
RANDOM_ITEMS, LOADED_ITEMS = 120, 320
RECORD_S = 10
RUST = "sinew-rust"


def torchcodec():
    """Whether lerobot's faster decoder works here, in a process of its own because it may crash."""
    return subprocess.run([sys.executable, "-c", "import torchcodec.decoders"], capture_output=True).returncode == 0


class Bench:
    def __init__(self, options):
        self.binary, self.rounds = options.binary, options.rounds
        self.out = Path(options.out)
        self.data = self.out / "data"
        self.data.mkdir(parents=True, exist_ok=True)
        self.environment = os.environ | {"HF_HOME": str(self.out / "hf-cache"), "HF_HUB_OFFLINE": "1"}
        self.lerobot = ["lerobot-pyav"] + (["lerobot-torchcodec"] if torchcodec() else [])
        self.raw = []

    def command(self, side, *words):
        """How a side is started; the Rust program and the Python client take the same words."""
        start = [self.binary] if side == RUST else [sys.executable, HERE / "client.py", side]
        return [*map(str, start), *map(str, words)]

    def once(self, side, *words):
        """Runs a command to its end and returns the JSON of its last line."""
        done = subprocess.run(self.command(side, *words), env=self.environment, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"{side} {' '.join(map(str, words))}: exit code {done.returncode}")
        lines = done.stdout.splitlines()
        return json.loads(lines[-1]) if lines else {}

    def note(self, part, side, answer, **more):
        self.raw.append({"part": part, "side": side} | more | answer)
        return answer

    # ── Datasets ──────────────────────────────────────────────────────

    def dataset(self, name, make):
        """The dataset `name`, made if it is not there yet."""
        root = self.data / name
        if not (root / "meta/info.json").is_file():
            print(f"making the dataset {name} …", flush=True)
            shutil.rmtree(root, ignore_errors=True)
            make(root)
        return root

    def av1(self):
        return self.dataset("av1", lambda root: self.once("lerobot", "make", root, *SIZES["av1"]))

    def h264(self):
        return self.dataset("h264", lambda root: self.once(RUST, "make", root, *SIZES["h264"]))

    def big(self, episodes):
        small = self.av1()
        script = [sys.executable, HERE / "big.py", small]
        return self.dataset(f"big-{episodes}", lambda root: subprocess.run([*script, root, str(episodes)], check=True))

    # ── Parts ─────────────────────────────────────────────────────────

    def reading(self, part, sides, line):
        for name, root in (("av1", self.av1()), ("h264", self.h264())):
            clients = {
                side: subprocess.Popen(
                    self.command(side, "serve", root),
                    env=self.environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                for side in sides
            }
            speeds = {side: [] for side in sides}
            for number in range(self.rounds):
                for side, client in clients.items():
                    client.stdin.write(line(number) + "\n")
                    client.stdin.flush()
                    text = client.stdout.readline()
                    if not text:
                        sys.exit(f"{side} ended early")
                    answer = self.note(part, side, json.loads(text), dataset=name, round=number)
                    speeds[side].append(answer["frames"] / answer["seconds"])
            for client in clients.values():
                client.stdin.close()
                client.wait()
            self.table(f"{part}, {name}: pictures/s", speeds, higher_is_better=True)

    def random(self):
        def line(number):
            dice = random.Random(number)
            return "get " + " ".join(str(dice.randrange(TOTAL)) for _ in range(RANDOM_ITEMS))

        self.reading("random", [*self.lerobot, "sinew-dataloader", RUST], line)

    def loading(self, part, line):
        self.reading(part, [*self.lerobot, "sinew-dataloader", "sinew-loader", RUST], line)

    def sequential(self):
        self.loading("sequential", lambda number: f"load {number * 20} {LOADED_ITEMS}")

    def shuffled(self):
        self.loading("shuffled", lambda number: f"shuffle {number} {LOADED_ITEMS}")

    def open(self, episodes):
        root = self.big(episodes)
        sides = ["lerobot-pyav", "sinew-dataloader", RUST]
        # lerobot builds a cache at the first opening, which is not counted.
        self.note("open", "lerobot-pyav", self.once("lerobot-pyav", "open", root), round="first")
        seconds, peaks = {s: [] for s in sides}, {s: [] for s in sides}
        for number in range(self.rounds):
            for side in sides:
                answer = self.note("open", side, self.once(side, "open", root), round=number)
                seconds[side].append(answer["seconds"])
                peaks[side].append(answer["peak_mb"] - answer.get("imports_mb", 0.0))
        self.table(f"open {episodes} episodes: ms", {s: [1e3 * v for v in t] for s, t in seconds.items()})
        self.table("    memory for it: MB", peaks)

    def record(self):
        sides = ["lerobot-default", "lerobot-streaming-av1", "lerobot-streaming-h264", RUST]
        names = ["save_seconds", "missed_rows", "lost_frames"]
        found = {name: {side: [] for side in sides} for name in names}
        for number in range(self.rounds):
            for side in sides:
                root = self.data / "recording"
                shutil.rmtree(root, ignore_errors=True)
                answer = self.note("record", side, self.once(side, "record", root, RECORD_S), round=number)
                for name in names:
                    found[name][side].append(answer[name])
                shutil.rmtree(root, ignore_errors=True)
        wanted = f"of {RECORD_S * 30}, two cameras"
        self.table(f"save an episode of {RECORD_S} s: ms", {s: [1e3 * v for v in t] for s, t in found[names[0]].items()})
        for name in names[1:]:
            self.table(f"{name.replace('_', ' ')} {wanted} (all rounds)", {s: [sum(v)] for s, v in found[name].items()})

    # ── Output ────────────────────────────────────────────────────────

    def table(self, title, values, higher_is_better=False):
        medians = {side: statistics.median(found) for side, found in values.items()}
        theirs = [medians[side] for side in medians if side.startswith("lerobot")]
        best = max(theirs) if higher_is_better else min(theirs)
        print(f"\n{title}")
        for side, median in medians.items():
            ratio = ""
            if side.startswith("sinew") and best and median:
                times = median / best if higher_is_better else best / median
                ratio = f"{times:7.1f}× lerobot's best"
            spread = f"({min(values[side]):.1f} to {max(values[side]):.1f})"
            print(f"  {side:24} {median:10.1f}  {spread:24} {ratio}")
        sys.stdout.flush()


def machine():
    models = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    packages = ["lerobot", "torch", "torchcodec", "av", "sinew-datasets"]
    versions = {}
    for package in packages:
        try:
            versions[package] = version(package)
        except ImportError:
            versions[package] = None
    return {"cpu": models[:1], "cores": os.cpu_count(), "system": platform.platform(), "versions": versions}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, help="the program `datasets` of sinew-benches")
    parser.add_argument("--parts", default=",".join(PARTS), help="which parts, comma-separated")
    parser.add_argument("--rounds", type=int, default=5, help="blocks of each side")
    parser.add_argument("--episodes", type=int, default=10_000, help="episodes of the dataset to open")
    parser.add_argument("--out", default="out/benches/datasets", help="folder of datasets and raw answers")
    options = parser.parse_args()
    parts = options.parts.split(",")
    if set(parts) - set(PARTS):
        parser.error(f"unknown parts {set(parts) - set(PARTS)}; there are {PARTS}")
    bench = Bench(options)
    about = machine()
    print(json.dumps(about))
    try:
        for part in parts:
            bench.open(options.episodes) if part == "open" else getattr(bench, part)()
    finally:
        name = f"{datetime.datetime.now():%Y-%m-%d-%H%M%S}.json"
        (bench.out / name).write_text(json.dumps({"machine": about, "blocks": bench.raw}, indent=1))
        print(f"\nraw answers: {bench.out / name}")


if __name__ == "__main__":
    main()
