"""The hub beside nginx and Hugging Face's own chunk store, with the real client. Started by `run`; see README.md here.

usage: compare.py --hub PATH --load PATH [--cas PATH] [--nginx PATH] [--parts large,…] [--rounds N] [--data FOLDER]
"""

import argparse
import base64
import concurrent.futures
import datetime
import filecmp
import http.client
import json
import os
import platform
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlparse

import data
from counting import Counter
from servers import Cas, Nginx, Server, Sinew, busy_s

PARTS = ["large", "small", "small-xet", "commit", "load", "dedup"]
MEMORY_MB = 300
SMALL = 20_000


class Bench:
    def __init__(self, options):
        self.options = options
        self.rounds = options.rounds
        self.out = Path(options.out)
        self.out.mkdir(parents=True, exist_ok=True)
        # Emptied at the end, so it is nobody else's.
        self.data = Path(options.data) / "sinew-benches-hub"
        self.data.mkdir(parents=True, exist_ok=True)
        self.hf = Path(options.client) / "bin/hf"
        self.raw = []
        self.peaks = []
        self.begun = 0

    # ── The client ────────────────────────────────────────────────────

    def client(self, part, what, server, *words, home=None, endpoint=None):
        """Runs `hf`, with a cache of its own unless `home` is given, and notes what it cost whom."""
        fresh = home is None
        home = home or self.data / "home"
        if fresh:
            shutil.rmtree(home, ignore_errors=True)
        environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")} | {
            "HF_ENDPOINT": endpoint or server.endpoint, "HF_TOKEN": server.token, "HF_HOME": str(home),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        }
        server.forget_peak()
        before, cpu, busy = children_s(), server.cpu_s(), busy_s()
        start = time.monotonic()
        command = [self.hf, *map(str, words)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        seconds = time.monotonic() - start
        if done.returncode:
            sys.exit(f"{server.name}: {' '.join(map(str, words))}\n{done.stdout[-3000:]}")
        client_s, server_s = children_s() - before, server.cpu_s() - cpu
        answer = {
            "seconds": seconds, "client_cpu_s": client_s, "server_cpu_s": server_s, "peak_mb": server.peak_mb(),
            "others_cpu_s": busy_s() - busy - client_s - server_s,
        }
        self.note(part, what, server, answer)
        if fresh:
            shutil.rmtree(home, ignore_errors=True)
        return answer

    def note(self, part, what, server, answer):
        self.raw.append({"part": part, "what": what, "side": server.name, "load": os.getloadavg()[0]} | answer)
        if server.name == "sinew" and "peak_mb" in answer:
            self.peaks.append((answer["peak_mb"], f"{part} {what}"))

    # ── Up and down ───────────────────────────────────────────────────

    def large(self):
        """One large file."""
        size = self.options.size_mb * data.MB
        self.transfers("large", f"one file of {self.options.size_mb} MB", lambda folder: data.large(folder, size), size)

    def small(self):
        """Files that a hub keeps in git."""
        count = self.options.files
        make = lambda folder: data.small(folder, count, SMALL, "json")
        self.transfers("small", f"{count} text files of 20 kB", make, count * SMALL, has_cas=False)

    def small_xet(self):
        """Files that a hub keeps in its chunk store."""
        count = self.options.files
        make = lambda folder: data.small(folder, count, SMALL, "bin")
        self.transfers("small-xet", f"{count} binary files of 20 kB", make, count * SMALL)

    def transfers(self, part, title, make, size, has_cas=True):
        source = self.data / part
        shutil.rmtree(source, ignore_errors=True)
        make(source)
        listing = self.rehearse(part, source)
        sides = [Sinew(self.data, self.options.hub)]
        if has_cas and self.options.cas:
            known = {entry["lfs"]["oid"]: entry["xetHash"] for entry in listing if "xetHash" in entry}
            sides.append(Cas(self.data, self.options.cas, known))
        if self.options.nginx:
            sides.append(Nginx(self.data, self.options.nginx, {f"admin/{part}": (source, listing)}))
        found = {what: {side.name: [] for side in sides} for what in ("upload", "download")}
        for number in range(self.rounds):
            turn = number % len(sides)
            for side in sides[turn:] + sides[:turn]:
                with side as server:
                    for what, answer in self.there_and_back(part, server, source):
                        found[what][server.name].append(size / data.MB / answer["seconds"])
        shutil.rmtree(source)
        for what in found:
            self.table(f"{what} of {title}: MB/s", {side: v for side, v in found[what].items() if v}, is_bar=part == "large")

    def rehearse(self, part, source):
        """The hub's listing of the files, for servers that cannot make one; nothing is measured."""
        with Sinew(self.data, self.options.hub) as server:
            self.client(part, "rehearsal", server, "upload", f"admin/{part}", source, ".")
            # The hub adds a .gitattributes, which is not among the files.
            return [entry for entry in server.tree(f"admin/{part}") if (source / entry["path"]).exists()]

    def there_and_back(self, part, server, source):
        repo = f"admin/{part}"
        if server.name != "nginx":
            yield "upload", self.client(part, "upload", server, "upload", repo, source, ".")
        target = self.data / "target"
        shutil.rmtree(target, ignore_errors=True)
        yield "download", self.client(part, "download", server, "download", repo, "--local-dir", target)
        for file in (file for file in source.rglob("*") if file.is_file()):
            if not filecmp.cmp(file, target / file.relative_to(source), shallow=False):
                sys.exit(f"{server.name}: {file.relative_to(source)} came back changed")
        shutil.rmtree(target)

    # ── One commit ────────────────────────────────────────────────────

    def commit(self):
        count = self.options.files
        source = self.data / "commit"
        data.small(source, count, SMALL, "json")
        lines = [json.dumps({"key": "header", "value": {"summary": f"{count} files", "description": ""}})]
        for file in sorted(file for file in source.rglob("*") if file.is_file()):
            content = base64.b64encode(file.read_bytes()).decode()
            value = {"path": str(file.relative_to(source)), "content": content, "encoding": "base64"}
            lines.append(json.dumps({"key": "file", "value": value}))
        body = "\n".join(lines).encode()
        shutil.rmtree(source)
        times = []
        for _ in range(self.rounds):
            with Sinew(self.data, self.options.hub) as server:
                server.post("/api/repos/create", {"name": "commit"})
                server.forget_peak()
                start = time.monotonic()
                server.post("/api/models/admin/commit/commit/main", body)
                times.append(time.monotonic() - start)
                self.note("commit", "one request", server, {"seconds": times[-1], "peak_mb": server.peak_mb()})
        self.bar(f"one commit of {count} files of 20 kB, s", statistics.median(times), 30)

    # ── Many repositories ─────────────────────────────────────────────

    def load(self):
        count = self.options.repos
        with Sinew(self.data, self.options.hub) as server:
            start = time.monotonic()
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda share: fill(server, share), [range(n, count, 8) for n in range(8)]))
            print(f"\n{count} repositories of 30 files were made in {time.monotonic() - start:.0f} s", flush=True)
            for what, path in (("info", "revision/main"), ("tree", "tree/main?recursive=true")):
                found = []
                for number in range(self.rounds):
                    # A step without a common divisor meets all of them in no particular order.
                    names = [f"/api/models/admin/r{(number * 17 + n * 7919) % count}/{path}" for n in range(count)]
                    found.append(self.ask(what, server, names))
                p99 = statistics.median(answer["p99_ms"] for answer in found)
                rest = ", ".join(f"{key[:-3]} {answer[key]:.1f}" for answer in found for key in ("p50_ms", "max_ms"))
                self.bar(f"{what} at 200 requests/s, {count} repositories: p99, ms", p99, 20, rest)

    def ask(self, what, server, paths):
        address = urlparse(server.endpoint).netloc
        server.forget_peak()
        command = [self.options.load, address, "200", str(self.options.load_s), server.token]
        cpu, busy, before = server.cpu_s(), busy_s(), children_s()
        done = subprocess.run(command, input="\n".join(paths), stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"load: exit code {done.returncode}")
        server_s = server.cpu_s() - cpu
        others = busy_s() - busy - server_s - (children_s() - before)
        costs = {"peak_mb": server.peak_mb(), "server_cpu_s": server_s, "others_cpu_s": others}
        answer = json.loads(done.stdout) | costs
        self.note("load", what, server, answer)
        return answer

    # ── What is sent again ────────────────────────────────────────────

    def dedup(self):
        with Sinew(self.data, self.options.hub) as server:
            address = urlparse(server.endpoint)
            counter = Counter((address.hostname, address.port))
            self.episode(server, counter)
            self.insertion(server, counter)
            counter.close()

    def push(self, what, server, counter, source, home, *words):
        counter.take()
        repo = f"admin/{source.name}"
        self.client("dedup", what, server, "upload", repo, source, ".", *words, home=home, endpoint=counter.endpoint)
        sent, received = counter.take()
        self.note("dedup", what, server, {"sent": sent, "received": received})
        return sent, received

    def episode(self, server, counter):
        source, home = self.data / "dataset", self.data / "home-dataset"
        for folder in (source, home):
            shutil.rmtree(folder, ignore_errors=True)
        dataset = data.Dataset(source, self.options.size_mb * data.MB)
        kind = ("--repo-type", "dataset")
        self.push("first push", server, counter, source, home, *kind)
        sent, received = self.push("unchanged push", server, counter, source, home, *kind)
        self.bar("dataset unchanged: sent, MB", sent / data.MB, 1, f"received {received / data.MB:.2f} MB")
        dataset.append()
        sent, received = self.push("one more episode", server, counter, source, home, *kind)
        size = dataset.episode_bytes()
        bar = 1.1 * size + 0.01 * (dataset.episodes - 1) * size
        rest = f"{sent / size:.3f} × the episode, received {received / data.MB:.2f} MB"
        self.bar(f"dataset with one more episode of {size / data.MB:.1f} MB: sent, MB", sent / data.MB, bar / data.MB, rest)
        shutil.rmtree(source)
        shutil.rmtree(home)

    def insertion(self, server, counter):
        source = self.data / "insertion"
        shutil.rmtree(source, ignore_errors=True)
        size = self.options.size_mb * data.MB // 2
        data.large(source, size)
        homes = [self.data / f"home-{which}" for which in ("first", "second")]
        for home in homes:
            shutil.rmtree(home, ignore_errors=True)
        self.push("first push of a file", server, counter, source, homes[0])
        data.insert(source / "large.bin", size // 2, 1000)
        sent, received = self.push("1 kB inserted, new client", server, counter, source, homes[1])
        title = f"1 kB inserted into {size / data.MB:.0f} MB, new client: sent, MB"
        self.bar(title, sent / data.MB, 1, f"received {received / data.MB:.2f} MB")
        for folder in (source, *homes):
            shutil.rmtree(folder, ignore_errors=True)

    # ── Output ────────────────────────────────────────────────────────

    def table(self, title, values, is_bar):
        medians = {side: statistics.median(found) for side, found in values.items()}
        print(f"\n{title}")
        for side, median in medians.items():
            spread = f"({min(values[side]):.1f} to {max(values[side]):.1f})"
            ratio = "" if side == "sinew" else f"Sinew is {medians['sinew'] / median:5.2f}×"
            if ratio and is_bar:
                ratio += f" (bar 0.8: {verdict(medians['sinew'] >= 0.8 * median)})"
            print(f"  {side:18} {median:8.1f}  {spread:20} {ratio}")
        sys.stdout.flush()

    def bar(self, title, value, bar, rest=""):
        print(f"\n{title}: {value:.2f} (bar {bar:.1f}: {verdict(value <= bar)})  {rest}", flush=True)

    def memory(self):
        if self.peaks:
            peak, where = max(self.peaks)
            self.bar(f"the hub's memory at most, MB, in: {where}", peak, MEMORY_MB)


def verdict(is_met):
    return "met" if is_met else "MISSED"


def children_s():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def fill(server: Server, numbers):
    """Repositories of 30 files in three folders."""
    host = urlparse(server.endpoint).netloc
    connection = http.client.HTTPConnection(host)
    content = base64.b64encode(b"some text").decode()
    files = [f"folder-{n % 3}/file-{n:02}.json" for n in range(30)]
    for number in numbers:
        name = f"r{number}"
        ask(connection, server, "/api/repos/create", json.dumps({"name": name}))
        lines = [json.dumps({"key": "header", "value": {"summary": f"files of {name}"}})]
        for file in files:
            lines.append(json.dumps({"key": "file", "value": {"path": file, "content": content, "encoding": "base64"}}))
        ask(connection, server, f"/api/models/admin/{name}/commit/main", "\n".join(lines))


def ask(connection, server, path, body):
    connection.request("POST", path, body, {"Authorization": f"Bearer {server.token}"})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        sys.exit(f"{path}: {answer.status} {text[:300]}")


def machine(options):
    model = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    ask = "from importlib.metadata import version; print(version('huggingface_hub'), version('hf_xet'))"
    version = subprocess.check_output([Path(options.client) / "bin/python", "-c", ask], text=True).split()
    return {"cpu": model[:1], "cores": os.cpu_count(), "system": platform.platform(), "client": version,
            "load": os.getloadavg(), "data": options.data, "size_mb": options.size_mb, "rounds": options.rounds}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hub", required=True, help="`sinew hub` as a program of its own: the example `hub`")
    parser.add_argument("--load", required=True, help="the example `load`")
    parser.add_argument("--client", required=True, help="the environment of a huggingface_hub")
    parser.add_argument("--cas", help="Hugging Face's local_cas_server; without it that side is left out")
    parser.add_argument("--nginx", help="nginx; without it that side is left out")
    parser.add_argument("--parts", default=",".join(PARTS), help="which parts, comma-separated")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each side")
    parser.add_argument("--size-mb", type=int, default=2000, help="of the large file and of the dataset")
    parser.add_argument("--files", type=int, default=5000, help="small files")
    parser.add_argument("--repos", type=int, default=10_000, help="repositories under load")
    parser.add_argument("--load-s", type=int, default=30, help="seconds of load in a round")
    parser.add_argument("--data", default="out/benches/hub/data", help="folder of everybody's data")
    parser.add_argument("--out", default="out/benches/hub", help="folder of raw answers")
    options = parser.parse_args()
    parts = options.parts.split(",")
    if set(parts) - set(PARTS):
        parser.error(f"unknown parts {set(parts) - set(PARTS)}; there are {PARTS}")
    # Ended from outside, it still ends its servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    bench = Bench(options)
    about = machine(options)
    print(json.dumps(about), flush=True)
    try:
        for part in parts:
            getattr(bench, part.replace("-", "_"))()
        bench.memory()
    finally:
        name = f"{datetime.datetime.now():%Y-%m-%d-%H%M%S}.json"
        (bench.out / name).write_text(json.dumps({"machine": about, "blocks": bench.raw}, indent=1))
        print(f"\nraw answers: {bench.out / name}")
        shutil.rmtree(bench.data, ignore_errors=True)


if __name__ == "__main__":
    main()
