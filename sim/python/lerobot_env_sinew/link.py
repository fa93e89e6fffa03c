"""Connection to ``sinew sim so101-pick --serve``: a world that waits for every step.

One message is ``u32 header length | u32 payload length | JSON header | payload``, little-endian. The
server speaks first (``hello``); after that every request of the client gets one answer.
"""

import json
import math
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import weakref
from dataclasses import dataclass
from pathlib import Path

import numpy as np

#: Version of the protocol.
VERSION = 1
#: Longest header and payload that are read, bytes.
MAX_HEADER = 64 * 1024
MAX_PAYLOAD = 32 * 1024 * 1024
#: Longest time for an answer, seconds: a step of a busy computer's software renderer.
ANSWER_S = 60.0
#: Longest time for the simulator to start, seconds.
START_S = 60.0


class SinewError(RuntimeError):
    """The simulator refused, or cannot be reached."""


class Refused(SinewError):
    """The simulator refused a request; the connection goes on."""


@dataclass(frozen=True)
class Observation:
    """What the world looks like after a reset or a step."""

    #: Joint positions in LeRobot's units, in the order of ``SinewLink.joints``.
    state: np.ndarray
    #: RGB images ``[height, width, 3]`` by camera name.
    images: dict[str, np.ndarray]
    #: 1.0 on success, else 0.0.
    reward: float
    #: Whether the task has been done for half a second, which is a success to ``sinew eval`` too.
    success: bool
    #: Simulated time since the reset, seconds.
    time_s: float


class SinewLink:
    """A world of its own in a simulator's process."""

    def __init__(self, path: str | Path):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(ANSWER_S)
        try:
            self._socket.connect(str(path))
            hello, _ = self._receive("hello")
            if hello.get("version") != VERSION:
                raise SinewError(f"the simulator speaks version {hello.get('version')}, this package {VERSION}")
            self.world: str = hello["world"]
            #: Names of the joints, as in datasets: ``shoulder_pan.pos`` and so on.
            self.joints: list[str] = hello["joints"]
            self.cameras: list[dict] = hello["cameras"]
        except OSError as error:
            self.close()
            raise SinewError(f"no simulator answers at {path}: {error}") from error
        except (KeyError, ValueError) as error:
            self.close()
            raise SinewError(f"what answers at {path} is no simulator: {error!r}") from error
        except BaseException:
            self.close()
            raise

    def reset(self, seed: int) -> Observation:
        """Starts the episode of ``seed``."""
        return self._ask({"type": "reset", "seed": int(seed)})

    def step(self, action: np.ndarray, seconds: float) -> Observation:
        """Drives the arm to ``action`` (LeRobot's units) for some simulated time."""
        if not all(math.isfinite(a) for a in action):
            raise SinewError(f"an action must be finite, got {[float(a) for a in action]}")
        return self._ask({"type": "step", "action": [float(a) for a in action], "seconds": seconds})

    def close(self) -> None:
        """Ends the world."""
        self._socket.close()

    def _ask(self, request: dict) -> Observation:
        header = json.dumps(request).encode()
        try:
            self._socket.sendall(struct.pack("<II", len(header), 0) + header)
            return self._observation(*self._receive("observation"))
        except Refused:
            raise
        except OSError as error:
            self.close()
            raise SinewError(f"the simulator went away: {error}") from error
        except (KeyError, ValueError) as error:
            self.close()
            raise SinewError(f"the simulator's answer makes no sense: {error!r}") from error
        except BaseException:
            # In the middle of an answer, perhaps: the next one would be misread.
            self.close()
            raise

    def _receive(self, wanted: str) -> tuple[dict, bytes]:
        header, payload = struct.unpack("<II", self._exactly(8))
        if header > MAX_HEADER or payload > MAX_PAYLOAD:
            raise SinewError(f"a message of {header} + {payload} bytes is no message of the simulator")
        message = json.loads(self._exactly(header))
        body = self._exactly(payload)
        if not isinstance(message, dict):
            raise SinewError(f"expected `{wanted}` of the simulator, got {type(message).__name__}")
        if message.get("type") == "error":
            raise Refused(message.get("message", "the simulator refused without a reason"))
        if message.get("type") != wanted:
            raise SinewError(f"expected `{wanted}` of the simulator, got `{message.get('type')}`")
        return message, body

    def _exactly(self, count: int) -> bytes:
        data = bytearray(count)
        view = memoryview(data)
        while view:
            got = self._socket.recv_into(view)
            if got == 0:
                raise SinewError("the simulator closed the connection")
            view = view[got:]
        return bytes(data)

    def _observation(self, answer: dict, payload: bytes) -> Observation:
        images, start = {}, 0
        for camera in self.cameras:
            shape = (camera["height"], camera["width"], 3)
            end = start + int(np.prod(shape))
            if end > len(payload):
                raise SinewError(f"the simulator sent {len(payload)} bytes of images, too few")
            images[camera["name"]] = np.frombuffer(payload[start:end], np.uint8).reshape(shape).copy()
            start = end
        return Observation(
            state=np.asarray(answer["state"], np.float32),
            images=images,
            reward=float(answer["reward"]),
            success=bool(answer["success"]),
            time_s=float(answer["time_s"]),
        )


class SinewProcess:
    """A simulator that belongs to this process and ends with it, or with ``close()``."""

    def __init__(self, binary: str, world: str, width: int, height: int):
        found = shutil.which(binary)
        if found is None:
            raise SinewError(f"there is no program `{binary}`; set --env.binary or $SINEW to the path of sinew")
        self._folder = tempfile.mkdtemp(prefix="sinew-")
        self.path = os.path.join(self._folder, "serve.sock")
        command = [found, "sim", world, "--serve", self.path, "--camera-size", f"{width}x{height}"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        # Also when nobody calls close: at the latest when the interpreter ends.
        self.close = weakref.finalize(self, _end, self._process, self._folder)

    def connect(self) -> SinewLink:
        """Connects as soon as the simulator listens."""
        deadline = time.monotonic() + START_S
        while True:
            if self._process.poll() is not None:
                raise SinewError(f"the simulator ended with code {self._process.returncode} before it listened")
            try:
                return SinewLink(self.path)
            except SinewError as error:
                # There is no socket yet, or nobody listens on it yet.
                early = isinstance(error.__cause__, (FileNotFoundError, ConnectionRefusedError))
                if not early or time.monotonic() > deadline:
                    raise
            time.sleep(0.02)


def _end(process: subprocess.Popen, folder: str) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    shutil.rmtree(folder, ignore_errors=True)
