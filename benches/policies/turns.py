"""Sides that take turns: processes that stay, and compute once for each line that they are sent.

A side prints `ready` and whatever it measured of its start, then the milliseconds of each computation, and after the
last line what else there is to know.
"""

import json
import os
import platform
import random
import subprocess
import sys
import time
from pathlib import Path

#: Where raw output goes; git ignores it.
OUT = Path("out/benches/policies")
#: Turns of each side before any that counts.
WARM_UPS = 3
#: Quiet before each turn, seconds: threads of the side before, which spin for a while, are asleep by then.
PAUSE_S = 0.2


class Side:
    """A process that takes a turn for each line."""

    def __init__(self, name, command):
        self.name, self.times, self.rest = name, [], []
        command = [*map(str, command)]
        try:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        except OSError as error:
            raise Missing(f"{name} does not start: {error}") from error
        # Libraries may greet on the same channel.
        lines = (line.split() for line in self.process.stdout)
        self.ready = next((words for words in lines if words[:1] == ["ready"]), [])
        if self.ready[:1] != ["ready"]:
            self.process.kill()
            code = self.process.wait()
            raise Missing(f"{name} ended with code {code} before it was ready; what it said is above. It was: {' '.join(command)}")

    def turn(self):
        """One computation, ms."""
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
            return float(self.process.stdout.readline())
        except (OSError, ValueError) as error:
            self.process.kill()
            raise Missing(f"{self.name} broke off with code {self.process.wait()}; what it said is above") from error

    def close(self):
        """Lets it end by itself, and keeps its last words."""
        self.process.stdin.close()
        self.rest = self.process.stdout.read().split()
        if self.process.wait():
            raise Missing(f"{self.name} ended with code {self.process.returncode}")


class Missing(RuntimeError):
    """A side that is not there, or no longer."""


def start(commands):
    """The sides that start, and what the others died of."""
    sides, missing = [], []
    for name, command in commands.items():
        try:
            sides.append(Side(name, command))
        except Missing as error:
            missing.append(str(error))
    return sides, missing


def take_turns(sides, rounds, seed):
    """Fills the sides' times: in each round all of them once, in an order of its own. Returns the orders."""
    shuffle, orders = random.Random(seed), []
    try:
        for side in sides:
            for _ in range(WARM_UPS):
                side.turn()
        for _ in range(rounds):
            order = shuffle.sample(sides, len(sides))
            orders.append([side.name for side in order])
            for side in order:
                time.sleep(PAUSE_S)
                side.times.append(side.turn())
        for side in sides:
            side.close()
    except Missing as error:
        sys.exit(f"benches/policies: {error}")
    return orders


def keep(name, sides, orders, **more):
    """Writes everything that was measured."""
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
    found = {side.name: {"ms": side.times, "start": side.ready[1:], "end": side.rest} for side in sides}
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps({"at": time.time(), "on": machine, "orders": orders, "sides": found} | more, indent=1))
    print(f"raw output: {path}")


def end(missing):
    """Fails when a row is missing."""
    if missing:
        sys.exit("\n".join(["rows are missing:", *missing]))
