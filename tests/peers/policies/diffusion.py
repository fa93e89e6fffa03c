"""Diffusion: both generations of encoders, cameras, surroundings, samplers, schedules, depths.

Two observations come one after the other, and a chunk is computed after each: `in/0/…`, `in/1/…`, `noise/0`,
`chunk/0` and so on. A chunk's noise holds the sample that it starts from and then that of each step that adds some.
"""

import torch
from diffusers.schedulers import scheduling_ddpm
from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
from lerobot.policies.diffusion.modeling_diffusion import DiffusionPolicy

from . import common

SMALL = {"down_dims": (64, 128, 256)}
OLD = {
    "horizon": 16,
    "n_action_steps": 8,
    "crop_shape": (84, 84),
    "use_group_norm": True,
    "use_separate_rgb_encoder_per_camera": False,
}
ARM = {"state": 6, "environment": 5}
CASES = {
    "seed_1": (1, {"state": 6, "images": {"front": (240, 320), "wrist": (240, 320)}}, SMALL, {}),
    "seed_2": (2, {"state": 2, "images": {"front": (96, 96), "side": (96, 96)}}, SMALL | OLD, {"old": True}),
    "year_2024": (3, {"state": 2, "images": {"image": (96, 96)}}, SMALL | OLD, {"old": True, "year_2024": True}),
    "environment": (
        4,
        ARM,
        {"down_dims": (32, 64), "kernel_size": 3, "n_groups": 4, "use_film_scale_modulation": False}
        | {"n_obs_steps": 3, "horizon": 8, "n_action_steps": 6, "diffusion_step_embed_dim": 32},
        {},
    ),
    "ddim": (5, ARM, SMALL | {"noise_scheduler_type": "DDIM", "num_inference_steps": 10, "beta_schedule": "linear"}, {}),
    "sample": (6, ARM, SMALL | {"prediction_type": "sample", "beta_schedule": "scaled_linear", "clip_sample_range": 2.0}, {}),
    "unclipped": (
        7,
        ARM,
        SMALL | {"prediction_type": "sample", "clip_sample": False, "noise_scheduler_type": "DDIM", "num_inference_steps": 7},
        {},
    ),
    "resized": (
        8,
        {"state": 6, "environment": 3, "images": {"front": (97, 131)}},
        SMALL | {"resize_shape": (60, 84), "crop_ratio": 0.9, "num_inference_steps": 10, "spatial_softmax_num_keypoints": 20},
        {},
    ),
    "one_level": (9, ARM, {"down_dims": (48,), "n_obs_steps": 1, "horizon": 10, "n_action_steps": 10}, {}),
    "deep": (10, ARM, {"down_dims": (32, 48, 64, 72), "kernel_size": 7, "horizon": 32, "n_action_steps": 16}, {}),
    # LeRobot's own sizes; the steps are fewer, since each reads a gigabyte.
    "default": (0, {"state": 6, "images": {"front": (480, 640)}}, {"num_inference_steps": 4}, {}),
}


def cases(out):
    for name, (seed, inputs, fields, layout) in CASES.items():
        case(out / name, seed, inputs, fields, layout)
    return list(CASES)


def case(folder, seed, inputs, fields, layout):
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    config = DiffusionConfig(
        input_features=common.features(**inputs),
        output_features=common.action(inputs["state"]),
        pretrained_backbone_weights=None,
        device="cpu",
        push_to_hub=False,
        **fields,
    )
    policy = DiffusionPolicy(config)
    common.randomise(policy, generator)
    policy.eval()
    stats = common.statistics(config, generator)
    pre, post = common.processors(config, stats)
    golden = {}
    kept = listen(policy, golden)
    for step in range(2):
        row = common.observation(config, stats, generator)
        batch = pre(common.prepared(row))
        golden |= {f"in/{step}/{name}": batch[name] for name in config.input_features}
        noise = torch.randn(draws(policy), config.horizon, inputs["state"], generator=generator)
        golden[f"noise/{step}"] = noise
        # The network is asked again only when no action is left.
        policy._queues["action"].clear()
        kept["step"] = step
        with fresh(noise[1:]):
            policy.select_action(dict(batch), noise=noise[:1].clone())
        chunk = golden[f"chunk/{step}"]
        golden[f"actions/{step}"] = torch.stack([post(action[None])[0] for action in chunk])
    common.write(folder, policy, stats, golden, layout.get("old", False))
    if layout.get("old"):
        common.rewrite_config(folder, before_0_6)
    if layout.get("year_2024"):
        common.rewrite_config(folder, year_2024)


def draws(policy):
    """Samples of noise of a chunk."""
    steps = policy.diffusion.num_inference_steps
    return steps if policy.config.noise_scheduler_type == "DDPM" else 1


class fresh:
    """Lets the sampler take its noise from a list, in order, and checks that it takes all of it."""

    def __init__(self, noise):
        self.noise = list(noise)

    def __enter__(self):
        self.real = scheduling_ddpm.randn_tensor
        scheduling_ddpm.randn_tensor = lambda *_args, **_kwargs: self.noise.pop(0)[None]

    def __exit__(self, kind, *_rest):
        scheduling_ddpm.randn_tensor = self.real
        assert kind or not self.noise


def listen(policy, golden):
    """Keeps chunks, each observation's features, and each chunk's first prediction."""
    kept = {"step": 0}

    def keep_chunk(batch, noise=None, real=policy.predict_action_chunk):
        chunk = real(batch, noise=noise)
        golden[f"chunk/{kept['step']}"] = chunk[0].clone()
        return chunk

    def keep_prediction(_module, _inputs, output):
        golden.setdefault(f"mid/prediction/{kept['step']}", output[0].clone())

    def keep_condition(_module, _args, kwargs):
        golden[f"mid/condition/{kept['step']}"] = kwargs["global_cond"][0].clone()

    policy.predict_action_chunk = keep_chunk
    policy.diffusion.unet.register_forward_hook(keep_prediction)
    policy.diffusion.unet.register_forward_pre_hook(keep_condition, with_kwargs=True)
    return kept


def before_0_6(config):
    """Without the fields that came with 0.6."""
    new = {"resize_shape", "crop_ratio", "compile_model", "compile_mode", "gradient_checkpointing"}
    return {name: value for name, value in config.items() if name not in new}


def year_2024(config):
    """Shapes and modes by name, no types."""
    modes = {"VISUAL": "mean_std", "STATE": "min_max", "ACTION": "min_max"}
    for side in ["input", "output"]:
        features = config.pop(f"{side}_features")
        config[f"{side}_shapes"] = {name: feature["shape"] for name, feature in features.items()}
        config[f"{side}_normalization_modes"] = {name: modes[feature["type"]] for name, feature in features.items()}
    gone = {
        "type", "normalization_mapping", "device", "use_amp", "use_peft", "push_to_hub", "repo_id", "private", "tags",
        "license", "pretrained_path", "pretrained_revision", "optimizer_lr", "optimizer_betas", "optimizer_eps",
        "optimizer_weight_decay", "scheduler_name", "scheduler_warmup_steps", "use_separate_rgb_encoder_per_camera",
        "drop_n_last_frames",
    }  # fmt: skip
    return {name: value for name, value in config.items() if name not in gone}
