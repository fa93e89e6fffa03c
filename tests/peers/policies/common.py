"""What the architectures share: random weights, statistics and observations, and the folder of a case."""

import json
import os

os.environ["HF_HUB_OFFLINE"] = "1"

import torch  # noqa: E402
from lerobot.configs.types import FeatureType, PolicyFeature  # noqa: E402
from lerobot.policies.factory import make_pre_post_processors  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

STATE = "observation.state"
ENVIRONMENT = "observation.environment_state"
ACTION = "action"


def features(state=None, environment=None, images=None):
    """Inputs in LeRobot's form; `images` is camera: (height, width)."""
    found = {f"observation.images.{name}": PolicyFeature(FeatureType.VISUAL, (3, *size)) for name, size in (images or {}).items()}
    if state:
        found[STATE] = PolicyFeature(FeatureType.STATE, (state,))
    if environment:
        found[ENVIRONMENT] = PolicyFeature(FeatureType.ENV, (environment,))
    return found


def action(size):
    return {ACTION: PolicyFeature(FeatureType.ACTION, (size,))}


def statistics(config, generator):
    """Statistics as of joints in degrees and of dim pictures; none of them is 0 or 1."""
    found = {}
    for name, feature in {**config.input_features, **config.output_features}.items():
        shape = (3, 1, 1) if feature.type is FeatureType.VISUAL else feature.shape
        scale, centre = (0.25, 0.45) if feature.type is FeatureType.VISUAL else (25.0, 0.0)
        mean = centre + scale * (torch.rand(shape, generator=generator) - 0.5)
        std = scale * (0.5 + torch.rand(shape, generator=generator))
        spread = scale * (1.5 + torch.rand(shape, generator=generator))
        found[name] = {"mean": mean, "std": std, "min": mean - spread, "max": mean + 1.1 * spread}
    return found


def randomise(network, generator):
    """Weights and statistics of batches away from their initial values, and small enough to stay finite."""
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            if name.endswith("running_var"):
                tensor.copy_(0.5 + noise.abs())
            elif tensor.dim() > 1:
                # Initialised by lerobot; other seeds for all of them.
                tensor.add_(0.3 * tensor.std() * noise)
            elif name.endswith("weight"):
                tensor.copy_(1.0 + 0.2 * noise)
            else:
                tensor.copy_(0.2 * noise)


def observation(config, stats, generator):
    """A row of a dataset: images as bytes, vectors within their statistics."""
    row = {}
    for name, feature in config.input_features.items():
        if feature.type is FeatureType.VISUAL:
            colours, height, width = feature.shape
            noise = torch.rand(height, width, colours, generator=generator)
            slope = torch.linspace(0, 1, width)[None, :, None] * torch.linspace(1, 0.2, height)[:, None, None]
            row[name] = ((0.3 * noise + 0.7 * slope) * 255).to(torch.uint8)
        else:
            noise = torch.randn(feature.shape, generator=generator)
            row[name] = stats[name]["mean"] + stats[name]["std"] * noise
    return row


def prepared(row):
    """What lerobot's control loop makes of a row before its processors."""
    return {name: (value.permute(2, 0, 1).float() / 255 if value.dtype == torch.uint8 else value) for name, value in row.items()}


def write(folder, policy, stats, golden, legacy=False):
    """Writes a case. `legacy`: statistics among the weights and no processors, as before 0.4."""
    model = folder / "pretrained_model"
    policy.save_pretrained(model)
    if legacy:
        weights = load_file(model / "model.safetensors")
        for name, values in stats.items():
            buffer = name.replace(".", "_")
            sides = ["normalize_targets", "unnormalize_outputs"] if name == ACTION else ["normalize_inputs"]
            for side in sides:
                for stat, value in values.items():
                    weights[f"{side}.buffer_{buffer}.{stat}"] = value.clone()
        save_file(weights, model / "model.safetensors")
    else:
        pre, post = processors(policy.config, stats)
        pre.save_pretrained(model)
        post.save_pretrained(model)
    save_file({name: value.contiguous().clone() for name, value in golden.items()}, folder / "golden.safetensors")


def processors(config, stats):
    return make_pre_post_processors(config, dataset_stats=stats)


def rewrite_config(folder, change):
    """Passes config.json through `change`, for layouts that today's lerobot no longer writes."""
    path = folder / "pretrained_model" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(change(config), indent=4))
