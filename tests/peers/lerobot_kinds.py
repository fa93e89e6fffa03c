"""Opens a recording of every kind of column and camera with the real lerobot package.

Usage: lerobot_kinds.py ROOT

Prints one JSON line a row with every value (datasets/tests/support/kinds.rs says what was recorded):
numbers as they are, distances and colours as hexadecimal bytes, the video's counter as a number. The
last line holds the statistics' shapes and lerobot's depth code of every distance from 0 to 65535 mm.
"""

import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy  # noqa: E402
from lerobot.datasets.depth_utils import quantize_depth  # noqa: E402
from lerobot.datasets.lerobot_dataset import LeRobotDataset  # noqa: E402
from lerobot_open import counter  # noqa: E402

CAMERAS = "observation.images."


def distances(tensor):
    """Distances in mm as little-endian bytes in hexadecimal; lerobot gives float32 (1, H, W)."""
    values = tensor.numpy().reshape(-1)
    assert tensor.shape[0] == 1 and (values == numpy.rint(values)).all(), tensor.shape
    return values.astype("<u2").tobytes().hex()


def colours(tensor):
    """Colours as bytes in hexadecimal, row by row; lerobot gives float32 CHW in 0..1."""
    return numpy.rint(tensor.numpy() * 255).astype(numpy.uint8).transpose(1, 2, 0).tobytes().hex()


def row(item):
    out = {"task": item["task"]}
    for key, value in item.items():
        if key == CAMERAS + "front":
            out[key] = counter(value)
        elif key == CAMERAS + "wrist":
            out[key] = colours(value)
        elif key.startswith(CAMERAS):
            out[key] = distances(value)
        elif isinstance(value, str):
            out[key] = value
        else:
            out[key] = value.tolist()
    return out


def main():
    dataset = LeRobotDataset("sinew/kinds", root=sys.argv[1], video_backend="pyav")
    for i in range(len(dataset)):
        print(json.dumps(row(dataset[i])))
    codes = quantize_depth(numpy.arange(65536, dtype=numpy.uint16).reshape(256, 256), video_backend=None)
    stats = dataset.meta.stats
    print(
        json.dumps(
            {
                "codes": codes.astype("<u2").tobytes().hex(),
                "shapes": {key: list(numpy.shape(value["mean"])) for key, value in stats.items()},
                "depth": {key: float(stats[CAMERAS + "wrist_depth"][key].reshape(-1)[0]) for key in ("min", "max", "q50")},
                "depth_keys": sorted(dataset.meta.depth_keys),
                "tasks": [sorted(episode["tasks"]) for episode in dataset.meta.episodes],
            }
        )
    )


if __name__ == "__main__":
    main()
