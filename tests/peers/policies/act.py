"""ACT: cameras, surroundings, both orders of normalisation, deep and dilated backbones, old layouts."""

import torch
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy

from . import common

SMALL = {"dim_model": 64, "n_heads": 4, "dim_feedforward": 96, "n_encoder_layers": 2, "chunk_size": 20, "n_action_steps": 20}
TWO = {"front": (480, 640), "wrist": (480, 640)}
CASES = {
    # LeRobot's own sizes.
    "default": (0, {"state": 6, "images": TWO}, {}, {}),
    "seed_1": (1, {"state": 6, "images": TWO}, SMALL, {}),
    "seed_2": (2, {"state": 14, "images": {"top": (480, 640)}}, SMALL | {"n_decoder_layers": 3}, {}),
    "environment": (3, {"state": 6, "environment": 4}, SMALL, {}),
    "everything": (4, {"state": 7, "environment": 3, "images": {"front": (96, 128), "wrist": (128, 96)}}, SMALL, {}),
    "pre_norm": (5, {"state": 6, "images": {"front": (97, 131)}}, SMALL | {"pre_norm": True, "n_decoder_layers": 2}, {}),
    "gelu": (6, {"state": 6, "images": {"front": (96, 128)}}, SMALL | {"feedforward_activation": "gelu", "use_vae": False}, {}),
    "resnet50": (
        7,
        {"state": 6, "images": {"front": (100, 150)}},
        SMALL | {"vision_backbone": "resnet50", "replace_final_stride_with_dilation": True},
        {},
    ),
    "min_max": (
        8,
        {"state": 6, "images": {"front": (96, 128)}},
        SMALL | {"normalization_mapping": {"VISUAL": "IDENTITY", "STATE": "MIN_MAX", "ACTION": "MIN_MAX"}},
        {},
    ),
    "legacy": (9, {"state": 6, "images": {"front": (96, 128)}}, SMALL, {"legacy": True}),
    "year_2024": (10, {"state": 6, "images": {"front": (96, 128)}}, SMALL, {"legacy": True, "year_2024": True}),
}


def cases(out):
    for name, (seed, inputs, fields, layout) in CASES.items():
        case(out / name, seed, inputs, fields, layout)
    return list(CASES)


def case(folder, seed, inputs, fields, layout):
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    config = ACTConfig(
        input_features=common.features(**inputs),
        output_features=common.action(inputs["state"]),
        pretrained_backbone_weights=None,
        device="cpu",
        push_to_hub=False,
        **fields,
    )
    policy = ACTPolicy(config)
    common.randomise(policy, generator)
    policy.eval()
    stats = common.statistics(config, generator)
    row = common.observation(config, stats, generator)
    pre, post = common.processors(config, stats)
    golden = dict(row)
    batch = pre(common.prepared(row))
    golden |= {f"in/{name}": batch[name] for name in config.input_features}
    kept = listen(policy.model)
    chunk = policy.predict_action_chunk(batch)
    golden |= {f"mid/{name}": value for name, value in kept.items()}
    golden["chunk"] = chunk[0]
    golden["actions"] = torch.stack([post(step)[0] for step in chunk.transpose(0, 1)])
    common.write(folder, policy, stats, golden, layout.get("legacy", False))
    if layout.get("year_2024"):
        common.rewrite_config(folder, year_2024)


def listen(model):
    """The values between the parts of the network, as they come."""
    kept = {}

    def keep(name):
        def hook(_module, _inputs, output):
            kept[name + str(sum(key.startswith(name) for key in kept))] = output.detach().squeeze(1).clone()

        return hook

    if model.config.image_features:
        model.encoder_img_feat_input_proj.register_forward_hook(keep("tokens"))
    model.encoder.register_forward_hook(keep("encoder"))
    model.decoder.register_forward_hook(keep("decoder"))
    return kept


def year_2024(config):
    """Shapes and modes by name, and no types."""
    new = {"VISUAL": "mean_std", "STATE": "mean_std", "ACTION": "mean_std"}
    for side in ["input", "output"]:
        features = config.pop(f"{side}_features")
        config[f"{side}_shapes"] = {name: feature["shape"] for name, feature in features.items()}
        config[f"{side}_normalization_modes"] = {name: new[feature["type"]] for name, feature in features.items()}
    kept = {
        "chunk_size", "dim_feedforward", "dim_model", "dropout", "feedforward_activation", "input_normalization_modes",
        "input_shapes", "kl_weight", "latent_dim", "n_action_steps", "n_decoder_layers", "n_encoder_layers", "n_heads",
        "n_obs_steps", "n_vae_encoder_layers", "output_normalization_modes", "output_shapes", "pre_norm",
        "pretrained_backbone_weights", "replace_final_stride_with_dilation", "use_vae", "vision_backbone",
    }  # fmt: skip
    return {name: value for name, value in config.items() if name in kept}
