"""One denoising step of LeRobot's default diffusion policy: Sinew's engines beside PyTorch eager.

usage: unet.py EXAMPLES [--rounds N] [--horizons 16,64] [--threads N] [--seed N]

EXAMPLES is the folder with the example `checkpoint_steps` of sinew-policies. See README.md.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import turns

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


def commands(options, folder):
    found = {EAGER: [sys.executable, __file__, "client", folder, options.threads]}
    for engine, precision in SIDES:
        found[f"sinew {engine} {precision}"] = [options.examples / "checkpoint_steps", folder, engine, precision, options.threads]
    return found


def compare(options, horizon):
    """Prints a horizon's table; what is missing in it."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "checkpoint"
        subprocess.run([sys.executable, __file__, "make", folder, str(horizon)], check=True)
        sides, missing = turns.start(commands(options, folder))
        orders = turns.take_turns(sides, options.rounds, options.seed)
    middles = {side.name: statistics.median(side.times) for side in sides}
    print(f"\nhorizon {horizon}, {options.threads} threads, {options.rounds} rounds; ms")
    print("| side | p50 | min | max | times as fast as eager |\n|---|---|---|---|---|")
    for side in sides:
        middle, values = middles[side.name], side.times
        eager = middles.get(EAGER, float("nan"))
        print(f"| {side.name} | {middle:.1f} | {min(values):.1f} | {max(values):.1f} | {eager / middle:.2f} |")
    settings = {"horizon": horizon, "threads": options.threads, "seed": options.seed, "missing": missing}
    turns.keep(f"unet-{horizon}", sides, orders, **settings)
    return missing


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("examples", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--horizons", default="16,64")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=0, help="of the order of turns")
    options = parser.parse_args()
    turns.end([missing for horizon in map(int, options.horizons.split(",")) for missing in compare(options, horizon)])


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", folder, horizon]:
            make(Path(folder), int(horizon))
        case ["client", folder, threads]:
            client(Path(folder), int(threads))
        case _:
            main()
