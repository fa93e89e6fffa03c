"""Judges conversions by lerobot's own converter and reader (datasets/tests/converting_lerobot.rs).

Usage: lerobot_convert.py judge OLD OURS WORK
       lerobot_convert.py same ONE OTHER
       lerobot_convert.py open ROOT

`judge` converts a copy (in WORK) of the v2.1 dataset OLD with lerobot's converter, and compares every row,
picture, task and the episode table with the dataset OURS. `same` compares two v3.0 datasets. `open` reads
every row of a dataset. All print JSON and fail at the first difference.
"""

import json
import os
import shutil
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy  # noqa: E402
import torch  # noqa: E402
from lerobot.datasets.lerobot_dataset import LeRobotDataset  # noqa: E402

BLOCK = 32


def counter(image):
    """The number in a picture: float CHW in 0..1."""
    number = 0
    for bit in range(20):
        x = bit % 10 * BLOCK + BLOCK // 2
        y = bit // 10 * BLOCK + BLOCK // 2
        number |= int(image[1, y, x].item() > 0.5) << bit
    return number


def load(root):
    return LeRobotDataset("sinew/test", root=root, video_backend="pyav")


def equal(one, other):
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return one == other


def compare(one, other):
    """Every row and picture; how many."""
    assert len(one) == len(other), (len(one), len(other))
    pictures = 0
    for index in range(len(one)):
        a, b = one[index], other[index]
        assert set(a) == set(b), set(a) ^ set(b)
        for key in a:
            assert equal(a[key], b[key]), (index, key, a[key], b[key])
            pictures += key in one.meta.camera_keys
    return pictures


def compare_tables(theirs, ours):
    """The episode tables say the same of the same videos, and statistics agree where both have them."""
    fields = ["length", "dataset_from_index", "dataset_to_index", "data/chunk_index", "data/file_index"]
    for key in theirs.meta.video_keys:
        fields += [f"videos/{key}/{what}" for what in ("chunk_index", "file_index", "from_timestamp", "to_timestamp")]
    for a, b in zip(theirs.meta.episodes, ours.meta.episodes, strict=True):
        assert list(a["tasks"]) == list(b["tasks"])
        for field in fields:
            assert abs(a[field] - b[field]) < 1e-6, (field, a[field], b[field])
    compared = 0
    for feature, stats in theirs.meta.stats.items():
        for name, value in stats.items():
            if feature in theirs.meta.camera_keys:
                # Ours are those of a sample of the frames, theirs whatever the old table says.
                continue
            found = ours.meta.stats[feature][name]
            assert numpy.allclose(found, value, rtol=1e-5, atol=1e-6), (feature, name, found, value)
            compared += 1
    for feature in ours.meta.stats:
        assert {"q01", "q10", "q50", "q90", "q99"} <= set(ours.meta.stats[feature]), feature
    return compared


def judge(old, ours, work):
    from lerobot.scripts.convert_dataset_v21_to_v30 import convert_dataset

    root = Path(work) / "theirs"
    shutil.copytree(old, root)
    convert_dataset("sinew/test", root=root, push_to_hub=False)
    theirs, ours = load(root), load(ours)
    pictures = compare(theirs, ours)
    compared = compare_tables(theirs, ours)
    counters = [{key: counter(ours[i][key]) for key in ours.meta.video_keys} for i in range(len(ours))]
    return {"rows": len(ours), "pictures": pictures, "statistics": compared, "counters": counters}


def same(one, other):
    one, other = load(one), load(other)
    return {"rows": len(one), "pictures": compare(one, other)}


def read(root):
    dataset = load(root)
    rows = []
    for index in range(len(dataset)):
        item = dataset[index]
        cameras = {key: counter(item[key]) for key in dataset.meta.video_keys}
        rows.append([item["task"], item["observation.state"].tolist(), item["action"].tolist(), cameras])
    return {"fps": dataset.fps, "episodes": dataset.meta.total_episodes, "rows": rows}


if __name__ == "__main__":
    verbs = {"judge": judge, "same": same, "open": read}
    if len(sys.argv) < 2 or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    print(json.dumps(verbs[sys.argv[1]](*sys.argv[2:])), flush=True)
