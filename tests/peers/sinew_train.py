"""Trains ACT for some steps with lerobot's own training program and a dataset class of choice.

Usage: sinew_train.py ROOT OUT lerobot|sinew

Small network, two worker processes, held-out episodes with an evaluation. Prints one JSON object: the
losses that lerobot logged, and a SHA-256 over the trained weights.
"""

import hashlib
import json
import logging
import os
import re
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import lerobot.datasets.factory as factory  # noqa: E402
import torch  # noqa: E402
from lerobot.configs.default import DatasetConfig  # noqa: E402
from lerobot.configs.train import TrainPipelineConfig  # noqa: E402
from lerobot.policies.act.configuration_act import ACTConfig  # noqa: E402
from lerobot.scripts import lerobot_train  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from sinew_datasets import SinewDataset  # noqa: E402

STEPS = 4


class Losses(logging.Handler):
    """Notes the losses in lerobot's log."""

    def __init__(self):
        super().__init__()
        self.found = []

    def emit(self, record):
        self.found += re.findall(r"\bloss:([\d.]+)", record.getMessage())


def main():
    root, out, side = sys.argv[1:]
    opened = []

    def open_sinew(*arguments, **options):
        opened.append(SinewDataset(*arguments, **options))
        return opened[-1]

    if side == "sinew":
        # What lerobot's make_dataset and make_train_eval_datasets call.
        factory.LeRobotDataset = open_sinew
    policy = ACTConfig(
        chunk_size=6,
        n_action_steps=6,
        dim_model=32,
        n_heads=2,
        dim_feedforward=64,
        n_encoder_layers=1,
        n_vae_encoder_layers=1,
        latent_dim=8,
        pretrained_backbone_weights=None,
        device="cpu",
        push_to_hub=False,
    )
    config = TrainPipelineConfig(
        dataset=DatasetConfig(repo_id="sinew/test", root=root, eval_split=0.3, video_backend="pyav"),
        policy=policy,
        output_dir=Path(out),
        steps=STEPS,
        batch_size=4,
        num_workers=2,
        log_freq=1,
        eval_steps=STEPS,
        max_eval_samples=6,
        save_freq=STEPS,
        env_eval_freq=0,
    )
    losses = Losses()
    init_logging = lerobot_train.init_logging

    def init_and_listen(*arguments, **options):
        init_logging(*arguments, **options)
        logging.getLogger().addHandler(losses)

    lerobot_train.init_logging = init_and_listen
    torch.set_num_threads(1)
    lerobot_train.train(config)
    weights = load_file(f"{out}/checkpoints/{STEPS:06d}/pretrained_model/model.safetensors")
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + weights[name].numpy().tobytes())
    report = {"losses": losses.found, "weights": digest.hexdigest(), "opened": len(opened)}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
