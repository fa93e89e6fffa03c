"""Reads a dataset from the hub at HF_ENDPOINT with the real huggingface_hub and lerobot, and says what they got.

Usage: lerobot_hub.py REPO FOLDER    (FOLDER: where snapshot_download puts the files)

Prints one JSON object: `files` {path: SHA-256}; `filesystem`, 1000 bytes out of the middle of each video
through HfFileSystem, as SHA-256; `rows`, what LeRobotDataset reads, [index, task, bits of the state, {camera: SHA-256 of the
pixels}]; `streamed`, the same from StreamingLeRobotDataset, in order of index; `package`, the same from our
Python package by ranges.
"""

import hashlib
import json
import pathlib
import sys

import torch
from huggingface_hub import HfFileSystem, snapshot_download
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.datasets.streaming_dataset import StreamingLeRobotDataset
from sinew_datasets import SinewDataset


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def row(item, cameras):
    pictures = {camera: sha256(item[camera].permute(1, 2, 0).contiguous().numpy().tobytes()) for camera in cameras}
    return [int(item["index"]), item["task"], item["observation.state"].view(torch.int32).tolist(), pictures]


def main():
    repo, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    snapshot_download(repo, repo_type="dataset", revision="v3.0", local_dir=folder)
    found = [p for p in folder.rglob("*") if p.is_file() and ".cache" not in p.parts]
    files = {str(p.relative_to(folder)): sha256(p.read_bytes()) for p in found}

    filesystem = {}
    for path in HfFileSystem().glob(f"datasets/{repo}@v3.0/videos/**/*.mp4"):
        with HfFileSystem().open(path, block_size=4096) as file:
            file.seek(file.size // 2)
            filesystem[path.split("/", 3)[3]] = sha256(file.read(1000))

    dataset = LeRobotDataset(repo, video_backend="pyav", return_uint8=True)
    cameras = dataset.meta.camera_keys
    rows = [row(dataset[i], cameras) for i in range(len(dataset))]

    # It decodes with torchcodec only, which needs FFmpeg's libraries.
    stream = StreamingLeRobotDataset(repo, buffer_size=8, shuffle=False, return_uint8=True)
    streamed = sorted(row(item, cameras) for item in stream)
    ours = SinewDataset(f"hub://{repo}", return_uint8=True)
    assert ours.meta.stats.keys() == dataset.meta.stats.keys()
    package = [row(ours[i], cameras) for i in range(len(ours))]
    print(json.dumps({"files": files, "filesystem": filesystem, "rows": rows, "streamed": streamed, "package": package}))


if __name__ == "__main__":
    main()
