"""Bus cycle of Sinew, rustypot and feetech-servo-sdk on one emulated bus, in interleaved blocks.

usage: clients.py [--bus PATH] [--blocks N] [--cycles N] [--out FILE]

See README.md here. With --client NAME PORT (used by itself) it is one of the Python clients.
"""

import argparse
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import time

IDS = [1, 2, 3, 4, 5, 6]
FLOOR_US = (14 + 6 * 8 + 26) * 10.0
CLIENTS = ["sinew", "rustypot", "feetech-servo-sdk"]


def rustypot_cycle(port):
    import rustypot

    io = rustypot.Sts3215PyController(port, 1_000_000, 0.05)

    def cycle(goal):
        positions = io.sync_read_raw_present_position(IDS)
        io.sync_write_raw_goal_position(IDS, [goal] * 6)
        return len(positions) == 6

    return cycle


def feetech_cycle(port):
    import scservo_sdk as scs

    handler, ph = scs.PortHandler(port), scs.PacketHandler(0)
    assert handler.openPort()
    read = scs.GroupSyncRead(handler, ph, 56, 2)
    write = scs.GroupSyncWrite(handler, ph, 42, 2)
    for sid in IDS:
        read.addParam(sid)
        write.addParam(sid, [0, 8])

    def cycle(goal):
        good = read.txRxPacket() == scs.COMM_SUCCESS
        if good:
            [read.getData(sid, 56, 2) for sid in IDS]
        for sid in IDS:
            write.changeParam(sid, [goal & 0xFF, goal >> 8])
        return write.txPacket() == scs.COMM_SUCCESS and good

    return cycle


def cpu_us():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return (usage.ru_utime + usage.ru_stime) * 1e6


def python_client(name, port):
    """The line protocol of `bus client`, for a Python library."""
    cycle = {"rustypot": rustypot_cycle, "feetech-servo-sdk": feetech_cycle}[name](port)
    print("ready", flush=True)
    for line in sys.stdin:
        count = int(line.removeprefix("run "))
        times, failed = [0] * count, 0
        gc.disable()
        cpu = cpu_us()
        for i in range(count):
            start = time.monotonic_ns()
            good = cycle(2048 + i % 100)
            times[i] = time.monotonic_ns() - start
            failed += not good
        cpu = cpu_us() - cpu
        gc.enable()
        print(json.dumps({"ns": times, "cpu_us": cpu, "failed": failed}), flush=True)


class Child:
    def __init__(self, command):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.first = self.line()

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.process.args} ended early")
        return line.strip()

    def ask(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        return json.loads(self.line())

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=10)


def measure(bus, wire, blocks, cycles):
    """All clients on one emulator each, so that no port is ever shared."""
    runs = {name: {"ns": [], "cpu_us": [], "failed": 0} for name in CLIENTS}
    children, emulators = {}, []
    for name in CLIENTS:
        emulator = Child([bus, "emulator"] + (["--wire"] if wire else []))
        emulators.append(emulator)
        port = emulator.first
        command = (
            [bus, "client", port]
            if name == "sinew"
            else [sys.executable, __file__, "--client", name, port]
        )
        children[name] = Child(command)
        children[name].ask(f"run {min(cycles, 200)}")
    for block in range(blocks):
        for name in CLIENTS[block % 3 :] + CLIENTS[: block % 3]:
            result = children[name].ask(f"run {cycles}")
            runs[name]["ns"] += result["ns"]
            runs[name]["cpu_us"].append(result["cpu_us"] / cycles)
            runs[name]["failed"] += result["failed"]
    for child in [*children.values(), *emulators]:
        child.close()
    return runs


def summarise(runs):
    out = {}
    for name, run in runs.items():
        times = sorted(run["ns"])
        out[name] = {
            "p50_us": statistics.median(times) / 1e3,
            "p99_us": times[int(len(times) * 0.99)] / 1e3,
            "max_us": times[-1] / 1e3,
            "cpu_us": statistics.median(run["cpu_us"]),
            "cycles": len(times),
            "failed": run["failed"],
        }
    return out


def table(title, summary, wire):
    print(f"\n{title}")
    print(f"{'client':<20}{'p50 µs':>10}{'p99 µs':>10}{'CPU µs':>10}{'p50 / sinew':>13}{'CPU / sinew':>13}{'failed':>8}")
    base = summary["sinew"]
    for name, s in summary.items():
        print(
            f"{name:<20}{s['p50_us']:>10.1f}{s['p99_us']:>10.1f}{s['cpu_us']:>10.1f}"
            f"{s['p50_us'] / base['p50_us']:>13.2f}{s['cpu_us'] / base['cpu_us']:>13.2f}{s['failed']:>8}"
        )
    if wire:
        print(f"{'floor (wire)':<20}{FLOOR_US:>10.1f}{'':>20}{FLOOR_US / base['p50_us']:>13.2f}")
        print(f"sinew's median is {100 * (base['p50_us'] / FLOOR_US - 1):.1f} % above the floor")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    target = os.environ.get("CARGO_TARGET_DIR", "target")
    parser.add_argument("--bus", default=os.path.join(target, "debug", "bus"))
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--cycles", type=int, default=500)
    parser.add_argument("--out")
    parser.add_argument("--client", nargs=2, metavar=("NAME", "PORT"))
    args = parser.parse_args()
    if args.client:
        return python_client(*args.client)
    raw, summary = {}, {}
    for key, wire in (("no_wire", False), ("wire_1M", True)):
        raw[key] = measure(args.bus, wire, args.blocks, args.cycles)
        summary[key] = summarise(raw[key])
        title = "wire timing at 1 Mbit/s" if wire else "no wire timing"
        table(f"{title}: {args.blocks} blocks of {args.cycles} cycles", summary[key], wire)
    if args.out:
        with open(args.out, "w") as file:
            json.dump({"floor_us": FLOOR_US, "summary": summary, "raw": raw}, file)


if __name__ == "__main__":
    main()
