"""One denoising step of LeRobot's default diffusion policy: Sinew's engines beside PyTorch eager.

usage: unet.py --program PATH [--rounds N] [--horizons 16,64] [--threads N] [--out FOLDER]

PATH is the example `checkpoint_steps` of sinew-policies. Every side is a process that stays; in each round each
takes one step in turn, so that all see the same machine. PyTorch's time is that of the U-Net alone, Sinew's that of
a whole inference with one denoising step. Run with lerobot's Python (`scripts/setup interop`).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
SIDES = [("ort", "fp32"), ("ort", "int8"), ("rten", "fp32"), ("rten", "int8")]
EAGER = "pytorch eager fp32"


def make(folder, horizon):
    """A checkpoint of LeRobot's sizes with random weights, no cameras, and one denoising step."""
    import torch
    from lerobot.configs.types import FeatureType, PolicyFeature
    from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
    from lerobot.policies.diffusion.modeling_diffusion import DiffusionPolicy
    from lerobot.policies.factory import make_pre_post_processors

    sizes = {"observation.state": ("STATE", 6), "observation.environment_state": ("ENV", 64)}
    config = DiffusionConfig(
        horizon=horizon,
        n_action_steps=horizon // 2,
        num_inference_steps=1,
        input_features={name: PolicyFeature(FeatureType[kind], (size,)) for name, (kind, size) in sizes.items()},
        output_features={"action": PolicyFeature(FeatureType.ACTION, (6,))},
        pretrained_backbone_weights=None,
        device="cpu",
        push_to_hub=False,
    )
    torch.manual_seed(0)
    DiffusionPolicy(config).save_pretrained(folder)
    ranges = {name: (torch.full((size,), -90.0), torch.full((size,), 90.0)) for name, (_, size) in sizes.items()}
    stats = {name: {"min": low, "max": high} for name, (low, high) in (ranges | {"action": ranges["observation.state"]}).items()}
    for processor in make_pre_post_processors(config, dataset_stats=stats):
        processor.save_pretrained(folder)


def client(folder, threads):
    """PyTorch's side: a step for each line."""
    import torch
    from lerobot.policies.diffusion.modeling_diffusion import DiffusionPolicy

    torch.set_num_threads(threads)
    begun = time.perf_counter()
    policy = DiffusionPolicy.from_pretrained(folder)
    policy.eval()
    unet, config = policy.diffusion.unet, policy.config
    sample = torch.randn(1, config.horizon, 6)
    condition = torch.randn(1, config.n_obs_steps * 70)
    step = torch.zeros(1, dtype=torch.long)
    with torch.inference_mode():
        unet(sample, step, global_cond=condition)
        print(f"ready 0 {1e3 * (time.perf_counter() - begun):.1f}", flush=True)
        for _ in sys.stdin:
            begun = time.perf_counter()
            unet(sample, step, global_cond=condition)
            print(f"{1e3 * (time.perf_counter() - begun):.3f}", flush=True)


class Side:
    """A process that takes a step for each line."""

    def __init__(self, name, command):
        self.name, self.times = name, []
        self.process = subprocess.Popen([*map(str, command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ready = self.process.stdout.readline().split()
        if ready[:1] != ["ready"]:
            sys.exit(f"{name} did not start")

    def step(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.times.append(float(self.process.stdout.readline()))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare(options, horizon):
    folder = options.out / f"horizon-{horizon}"
    if not (folder / "config.json").exists():
        subprocess.run([sys.executable, __file__, "make", folder, str(horizon)], check=True)
    sides = [Side(EAGER, [sys.executable, __file__, "client", folder, options.threads])]
    for engine, precision in SIDES:
        command = [options.program, folder, engine, precision, options.threads]
        sides.append(Side(f"sinew {engine} {precision}", command))
    for _ in range(options.rounds):
        for side in sides:
            side.step()
    for side in sides:
        side.close()
    return {side.name: side.times for side in sides}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--horizons", default="16,64")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=Path("bench-unet"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    raw = {}
    for horizon in map(int, options.horizons.split(",")):
        raw[horizon] = times = compare(options, horizon)
        eager = statistics.median(times[EAGER])
        print(f"\nhorizon {horizon}, {options.threads} threads, {options.rounds} rounds; ms")
        print("| side | p50 | min | max | times as fast as eager |\n|---|---|---|---|---|")
        for name, values in times.items():
            middle = statistics.median(values)
            print(f"| {name} | {middle:.1f} | {min(values):.1f} | {max(values):.1f} | {eager / middle:.2f} |")
    (options.out / "raw.json").write_text(json.dumps(raw))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", folder, horizon]:
            make(Path(folder), int(horizon))
        case ["client", folder, threads]:
            client(Path(folder), int(threads))
        case _:
            main()
