"""Writes checkpoints' configurations, processors and statistics with the real lerobot package, and what
its processors make of some values.

Usage: lerobot_processors.py FOLDER

Each case is a folder of its own; `cases.json` holds for each the observation, what the network would see,
an answer of the network, and the action that follows. Weights are a single number: nothing here runs a
network. The cases named `legacy` have no processor files; what they should give comes from lerobot's own
converter of such checkpoints.
"""

import json
import pathlib
import sys

import torch
from lerobot.configs import FeatureType, NormalizationMode, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.processor_act import make_act_pre_post_processors
from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
from lerobot.policies.diffusion.processor_diffusion import make_diffusion_pre_post_processors
from lerobot.processor import (
    AbsoluteActionsProcessorStep,
    NormalizerProcessorStep,
    RelativeActionsProcessorStep,
    UnnormalizerProcessorStep,
)
from lerobot.processor.migrate_policy_normalization import extract_normalization_stats
from safetensors.torch import save_file

STATE, IMAGE, ENVIRONMENT, ACTION = (
    "observation.state",
    "observation.images.front",
    "observation.environment_state",
    "action",
)
JOINTS = ["pan.pos", "lift.pos", "elbow.pos", "flex.pos", "roll.pos", "gripper.pos"]


def features(environment):
    inputs = {
        STATE: PolicyFeature(FeatureType.STATE, (6,)),
        IMAGE: PolicyFeature(FeatureType.VISUAL, (3, 96, 128)),
    }
    if environment:
        inputs[ENVIRONMENT] = PolicyFeature(FeatureType.ENV, (4,))
    return inputs, {ACTION: PolicyFeature(FeatureType.ACTION, (6,))}


def statistics(generator):
    """Statistics that are hard on rounding: far from zero, narrow, wide, and a value that never changes."""

    def vector(size):
        mean = torch.randn(size, generator=generator) * 100
        std = 10 ** (torch.rand(size, generator=generator) * 6 - 4)
        mean[0], std[0] = 150.0, 0.001
        low, high = mean - 3 * std, mean + 2.5 * std
        low[1] = high[1] = mean[1]
        quantiles = {f"q{q:02}": low + (high - low) * q / 100 for q in (1, 10, 50, 90, 99)}
        return {"mean": mean, "std": std, "min": low, "max": high, **quantiles}

    colours = {
        "mean": torch.tensor([0.485, 0.456, 0.406]),
        "std": torch.tensor([0.229, 0.224, 0.225]),
        "min": torch.tensor([0.0, 0.1, 0.02]),
        "max": torch.tensor([1.0, 0.9, 0.97]),
    }
    for q in (1, 10, 50, 90, 99):
        colours[f"q{q:02}"] = torch.tensor([0.01, 0.02, 0.03]) * 10 + q / 200
    colours = {name: value.reshape(3, 1, 1) for name, value in colours.items()}
    return {STATE: vector(6), ACTION: vector(6), ENVIRONMENT: vector(4), IMAGE: colours}


def observation(generator, stats, environment):
    around = {}
    for name in [STATE] + [ENVIRONMENT] * environment:
        spread = torch.randn(stats[name]["mean"].shape, generator=generator)
        around[name] = stats[name]["mean"] + spread * stats[name]["std"]
    pixels = torch.randint(0, 256, (3, 4, 5), generator=generator, dtype=torch.uint8)
    around[IMAGE] = pixels.to(torch.float32) / 255
    return around


def numbers(tensor):
    assert tensor.dtype == torch.float32, tensor.dtype
    return tensor.reshape(-1).tolist()


def run(pre, post, given, answer):
    seen = pre(dict(given))
    action = post(answer.clone())
    return {
        "given": {name: numbers(value) for name, value in given.items()},
        "seen": {name: numbers(seen[name]) for name in given},
        "answer": numbers(answer),
        "action": numbers(action),
    }


def save(folder, config, pre, post):
    folder.mkdir(parents=True)
    config._save_pretrained(folder)
    pre.save_pretrained(folder)
    post.save_pretrained(folder)
    save_file({"nothing": torch.zeros(1)}, folder / "model.safetensors")


def current(root, name, generator, architecture, mode, environment, change=None):
    inputs, outputs = features(environment)
    kinds = ["VISUAL", "STATE", "ACTION"] + ["ENV"] * environment
    mapping = {kind: NormalizationMode[mode] for kind in kinds} if mode else None
    make, processors = {
        "act": (ACTConfig, make_act_pre_post_processors),
        "diffusion": (DiffusionConfig, make_diffusion_pre_post_processors),
    }[architecture]
    more = {"normalization_mapping": mapping} if mapping else {}
    config = make(input_features=inputs, output_features=outputs, device="cpu", **more)
    stats = statistics(generator)
    pre, post = processors(config, stats)
    if change:
        change(pre, post)
    given = observation(generator, stats, environment)
    case = {"name": name, **run(pre, post, given, torch.randn(1, 6, generator=generator))}
    save(root / name, config, pre, post)
    return case


def renamed(pre, _post):
    pre.steps[0].rename_map = {"observation.images.overhead": IMAGE}


def relative(pre, post):
    step = RelativeActionsProcessorStep(enabled=True, exclude_joints=["Gripper"], action_names=JOINTS)
    pre.steps.insert(2, step)
    post.steps.insert(1, AbsoluteActionsProcessorStep(enabled=True, relative_step=step))


def some_keys(pre, _post):
    pre.steps[3].normalize_observation_keys = {STATE}


def legacy(root, name, generator, before_2025):
    """A checkpoint with its statistics among the weights, and lerobot's own reading of them."""
    stats = statistics(generator)
    used = {"visual": ("mean", "std"), "state": ("min", "max"), "action": ("min", "max")}
    weights = {"nothing": torch.zeros(1)}
    for prefix, feature, kind in [
        ("normalize_inputs", IMAGE, "visual"),
        ("normalize_inputs", STATE, "state"),
        ("normalize_targets", ACTION, "action"),
        ("unnormalize_outputs", ACTION, "action"),
    ]:
        for stat in used[kind]:
            buffer = feature.replace(".", "_")
            weights[f"{prefix}.buffer_{buffer}.{stat}"] = stats[feature][stat].clone()
    folder = root / name
    folder.mkdir(parents=True)
    save_file(weights, folder / "model.safetensors")
    inputs, outputs = features(False)
    config = DiffusionConfig(input_features=inputs, output_features=outputs, device="cpu")
    if before_2025:
        old = {
            "input_shapes": {key: list(value.shape) for key, value in inputs.items()},
            "output_shapes": {ACTION: [6]},
            "input_normalization_modes": {IMAGE: "mean_std", STATE: "min_max"},
            "output_normalization_modes": {ACTION: "min_max"},
            "n_obs_steps": 2,
            "horizon": 16,
            "n_action_steps": 8,
            "crop_shape": [84, 84],
            "down_dims": [512, 1024, 2048],
            "num_train_timesteps": 100,
            "use_group_norm": True,
        }
        (folder / "config.json").write_text(json.dumps(old, indent=4))
    else:
        config._save_pretrained(folder)
    found = extract_normalization_stats(weights)
    mapping = config.normalization_mapping
    normalise = NormalizerProcessorStep({**inputs, **outputs}, mapping, found)
    undo = UnnormalizerProcessorStep(outputs, mapping, found)
    given = observation(generator, stats, False)
    answer = torch.randn(1, 6, generator=generator)
    return {
        "name": name,
        "given": {key: numbers(value) for key, value in given.items()},
        "seen": {
            key: numbers(value) for key, value in normalise._normalize_observation(given, False).items()
        },
        "answer": numbers(answer),
        "action": numbers(undo._normalize_action(answer, inverse=True)),
    }


def main():
    root = pathlib.Path(sys.argv[1])
    generator = torch.Generator().manual_seed(4)
    cases = []
    for mode in NormalizationMode:
        for seed in range(3):
            name = f"act-{mode.name}-{seed}"
            cases.append(current(root, name, generator, "act", mode.name, environment=seed == 1))
    cases.append(current(root, "act-default", generator, "act", None, environment=True))
    cases.append(current(root, "diffusion-default", generator, "diffusion", None, environment=True))
    cases.append(current(root, "renamed", generator, "act", "MEAN_STD", False, renamed))
    cases.append(current(root, "relative", generator, "act", "MIN_MAX", False, relative))
    cases.append(current(root, "some-keys", generator, "act", "QUANTILES", True, some_keys))
    cases.append(legacy(root, "legacy-2025", generator, before_2025=False))
    cases.append(legacy(root, "legacy-2024", generator, before_2025=True))
    (root / "cases.json").write_text(json.dumps(cases))


main()
