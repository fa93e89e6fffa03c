"""Distils demonstrations of so101-pick into a small network: NumPy in, ONNX out.

The network sees joint positions and what a perception program would report of the table, and
gives a chunk of joint offsets. It has no clock and no memory.

    python train.py --data DIR [--data DIR ...] --out policies/demo/so101-pick

DIR holds demonstrations.json and demonstrations.f32, as written by the example `collect`.
"""

import argparse
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

# The matrices are small: more threads only wait for one another.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Errors of perception and encoders that the network must live with, one standard deviation.
JOINT_NOISE_RAD = 0.004
ENVIRONMENT_NOISE = {
    "cube.x": 0.0007,
    "cube.y": 0.0007,
    "cube.z": 0.0007,
    "cube.yaw_cos4": 0.02,
    "cube.yaw_sin4": 0.02,
    "zone.x": 0.0007,
    "zone.y": 0.0007,
}


@dataclass
class Demonstrations:
    """All rows, and where each row's episode ends."""

    joints: list[str]
    environment: list[str]
    rate_hz: float
    observed: np.ndarray  # rows × (joints + environment)
    wanted: np.ndarray  # rows × joints
    last: np.ndarray  # rows: index of the last row of the same episode
    moving: np.ndarray  # indices of the rows in which the operator does not wait


def load(folders: list[Path]) -> Demonstrations:
    indices = [json.loads((folder / "demonstrations.json").read_text()) for folder in folders]
    first = indices[0]
    joints = len(first["joints"])
    observed, wanted, last, moving, total = [], [], [], [], 0
    for folder, index in zip(folders, indices, strict=True):
        if any(index[key] != first[key] for key in ("joints", "environment", "rate_hz")):
            raise SystemExit(f"{folder} was recorded with other columns than {folders[0]}; record it again")
        rows = np.fromfile(folder / "demonstrations.f32", "<f4").reshape(-1, index["columns"])
        observed.append(rows[:, : -joints - 1])
        wanted.append(rows[:, -joints - 1 : -1])
        moving.append(total + np.flatnonzero(rows[:, -1] == 0))
        for episode in index["episodes"]:
            last.append(np.full(episode["rows"], total + episode["start"] + episode["rows"] - 1))
        total += len(rows)
    return Demonstrations(
        first["joints"],
        first["environment"],
        first["rate_hz"],
        np.concatenate(observed),
        np.concatenate(wanted),
        np.concatenate(last),
        np.concatenate(moving),
    )


def silu(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x · sigmoid(x), and its derivative."""
    s = 1 / (1 + np.exp(-x))
    return x * s, s * (1 + x * (1 - s))


class Network:
    """A multilayer perceptron with SiLU, trained by Adam (Kingma and Ba 2015)."""

    def __init__(self, sizes: list[int], random: np.random.Generator) -> None:
        self.parameters = []
        for fan_in, fan_out in zip(sizes, sizes[1:], strict=False):
            self.parameters.append(random.normal(0, np.sqrt(2 / fan_in), (fan_in, fan_out)).astype(np.float32))
            self.parameters.append(np.zeros(fan_out, np.float32))
        # A first guess of "stay where you are" is closer than a random motion.
        self.parameters[-2] *= 0.1
        self.moments = [(np.zeros_like(p), np.zeros_like(p)) for p in self.parameters]
        self.average = [p.copy() for p in self.parameters]
        self.steps = 0

    def forward(self, x: np.ndarray, parameters: list[np.ndarray] | None = None) -> tuple[np.ndarray, list]:
        p = self.parameters if parameters is None else parameters
        kept = []
        for layer in range(0, len(p) - 2, 2):
            out, slope = silu(x @ p[layer] + p[layer + 1])
            kept.append((x, slope))
            x = out
        kept.append((x, None))
        return x @ p[-2] + p[-1], kept

    def backward(self, gradient: np.ndarray, kept: list) -> list[np.ndarray]:
        gradients = []
        for layer in reversed(range(len(kept))):
            x, slope = kept[layer]
            if slope is not None:
                gradient = gradient * slope
            gradients += [gradient.sum(0), x.T @ gradient]
            gradient = gradient @ self.parameters[2 * layer].T
        return gradients[::-1]

    def update(self, gradients: list[np.ndarray], rate: float, decay: float) -> None:
        self.steps += 1
        keep = min(0.9995, self.steps / (self.steps + 10))
        correct = np.float32(rate * (1 - 0.999**self.steps) ** 0.5 / (1 - 0.9**self.steps))
        for p, g, (m, v), average in zip(self.parameters, gradients, self.moments, self.average, strict=True):
            m += 0.1 * (g - m)
            v += 0.001 * (g * g - v)
            p -= correct * m / (np.sqrt(v) + 1e-8)
            if p.ndim == 2:
                p *= np.float32(1 - rate * decay)
            average += np.float32(1 - keep) * (p - average)


def batches(
    data: Demonstrations, rows: np.ndarray, options: argparse.Namespace, noise: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Observations with noise, and the offsets from them to what the operator wanted next, waiting
    left out. Labels run `lead` rows ahead, so that a network that stands where a motion begins
    slowly still begins it."""
    joints = len(data.joints)
    observed = data.observed[rows] + random.standard_normal((len(rows), len(noise)), np.float32) * noise
    first = np.searchsorted(data.moving, rows) + options.lead
    ahead = np.minimum(first[:, None] + np.arange(options.chunk), len(data.moving) - 1)
    steps = np.minimum(data.moving[ahead], data.last[rows][:, None])
    return observed, data.wanted[steps] - observed[:, None, :joints]


def train(data: Demonstrations, options: argparse.Namespace) -> tuple[Network, dict[str, np.ndarray]]:
    random = np.random.default_rng(options.seed)
    noise = np.array(
        [JOINT_NOISE_RAD] * len(data.joints) + [ENVIRONMENT_NOISE[name] for name in data.environment], np.float32
    )
    episodes = np.unique(data.last)
    held_out = np.isin(data.last, episodes[:: max(2, len(episodes) // 20)])
    training, testing = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    x, y = batches(data, training, options, 0 * noise, random)
    scale = {"mean": x.mean(0), "std": x.std(0) + 1e-3, "y_mean": y.mean(0).ravel(), "y_std": y.std(0).ravel() + 1e-3}
    outputs = options.chunk * len(data.joints)
    network = Network([x.shape[1], *([options.width] * options.layers), outputs], random)
    begun = time.monotonic()
    for step in range(options.steps):
        x, y = batches(data, random.choice(training, options.batch), options, noise, random)
        guess, kept = network.forward((x - scale["mean"]) / scale["std"])
        error = guess - (y.reshape(len(y), -1) - scale["y_mean"]) / scale["y_std"]
        # Huber: the few moments where the operator's next phase cannot be seen must not dominate.
        gradient = np.clip(error, -0.5, 0.5) / (options.batch * outputs) * outputs**0.5
        rate = options.rate * min(1, step / 500) * 0.5 * (1 + np.cos(np.pi * step / options.steps))
        network.update(network.backward(gradient.astype(np.float32), kept), rate, 1e-4)
        if step % 1000 == 999 or step == options.steps - 1:
            x, y = batches(data, random.choice(testing, 4096), options, 0 * noise, random)
            guess, _ = network.forward((x - scale["mean"]) / scale["std"], network.average)
            offsets = guess * scale["y_std"] + scale["y_mean"]
            error = np.abs(offsets.reshape(y.shape) - y)
            now, end = np.degrees(error[:, 0].mean()), np.degrees(error[:, -1].mean())
            seconds = time.monotonic() - begun
            print(f"step {step + 1}: held-out error {now:.3f}° now, {end:.3f}° at the end; {seconds:.0f} s", flush=True)
    return network, scale


def export(path: Path, network: Network, scale: dict[str, np.ndarray], options: argparse.Namespace, joints: int) -> None:
    """Writes the averaged weights. The outputs' normalisation is folded into the last layer, the
    inputs' is left to policy.toml."""
    weights = [p.astype(np.float32) for p in network.average]
    weights[-2] = weights[-2] * scale["y_std"].astype(np.float32)
    weights[-1] = weights[-1] * scale["y_std"].astype(np.float32) + scale["y_mean"].astype(np.float32)
    nodes, tensors, x = [], [], "observation"
    layers = len(weights) // 2
    for layer in range(layers):
        w, b = f"layer{layer}.weight", f"layer{layer}.bias"
        tensors += [numpy_helper.from_array(weights[2 * layer], w), numpy_helper.from_array(weights[2 * layer + 1], b)]
        nodes.append(helper.make_node("Gemm", [x, w, b], [f"linear{layer}"]))
        x = f"linear{layer}"
        if layer + 1 < layers:
            nodes.append(helper.make_node("Sigmoid", [x], [f"gate{layer}"]))
            nodes.append(helper.make_node("Mul", [x, f"gate{layer}"], [f"hidden{layer}"]))
            x = f"hidden{layer}"
    tensors.append(numpy_helper.from_array(np.array([1, options.chunk, joints], np.int64), "chunk_shape"))
    nodes.append(helper.make_node("Reshape", [x, "chunk_shape"], ["offsets"]))
    inputs = [helper.make_tensor_value_info("observation", TensorProto.FLOAT, [1, weights[0].shape[0]])]
    outputs = [helper.make_tensor_value_info("offsets", TensorProto.FLOAT, [1, options.chunk, joints])]
    graph = helper.make_graph(nodes, "so101-pick", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="sinew distil")
    model.ir_version = 8
    onnx.checker.check_model(model)
    onnx.save(model, path)


def manifest(data: Demonstrations, scale: dict[str, np.ndarray], options: argparse.Namespace) -> str:
    def numbers(values: np.ndarray) -> str:
        return "[" + ", ".join(f"{float(v):.6g}" for v in values) + "]"

    def names(values: list[str]) -> str:
        return "[" + ", ".join(f'"{v}"' for v in values) + "]"

    n = len(data.joints)
    mean, std = scale["mean"], scale["std"]
    return f"""# Written by scripts/distil/train.py; see README.md.
name = "so101-pick"
description = "Picks the cube of world so101-pick and places it on the zone; distilled from the scripted operator"
robot = "so101"
rate_hz = {data.rate_hz:.1f}
chunk_size = {options.chunk}
n_action_steps = {options.used}

[model]
file = "model.onnx"

[[input]]
tensor = "observation"
kind = "joint_positions"
joints = {names(data.joints)}
units = "rad"
normalise = {{ mean = {numbers(mean[:n])}, std = {numbers(std[:n])} }}

# Lengths in m, arm base frame. The cube looks the same after a quarter turn, so its yaw comes as
# cosine and sine of four times the angle.
[[input]]
tensor = "observation"
kind = "environment"
names = {names(data.environment)}
normalise = {{ mean = {numbers(mean[n:])}, std = {numbers(std[n:])} }}

[[output]]
tensor = "offsets"
kind = "joint_offsets"
joints = {names(data.joints)}
units = "rad"
clip = [-2.0, 2.0]
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", required=True, help="folder of demonstrations")
    parser.add_argument("--out", type=Path, required=True, help="policy directory to write")
    parser.add_argument("--chunk", type=int, default=16, help="steps that the network gives")
    parser.add_argument("--used", type=int, default=8, help="steps used before it is asked again")
    parser.add_argument("--lead", type=int, default=2, help="rows by which labels run ahead of observations")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30_000)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--rate", type=float, default=1e-3, help="Adam's rate at the start")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data = load(options.data)
    print(f"{len(np.unique(data.last))} episodes, {len(data.observed)} rows", flush=True)
    network, scale = train(data, options)
    options.out.mkdir(parents=True, exist_ok=True)
    export(options.out / "model.onnx", network, scale, options, len(data.joints))
    (options.out / "policy.toml").write_text(manifest(data, scale, options))
    print(f"wrote {options.out / 'model.onnx'}, {(options.out / 'model.onnx').stat().st_size} bytes")


if __name__ == "__main__":
    main()
