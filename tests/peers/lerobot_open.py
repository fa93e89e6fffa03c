"""Opens a dataset with the real lerobot package and prints what it read, as JSON.

Usage: lerobot_open.py ROOT

Every row of every episode is read through each video backend that can be imported. A row is
[episode_index, frame_index, index, timestamp, task, state, extras, {camera: counter}], where the
counter is the number drawn as blocks into the picture (datasets/tests/support/mod.rs).
"""

import json
import os
import sys
from importlib.metadata import version

os.environ["HF_HUB_OFFLINE"] = "1"

from lerobot.datasets.lerobot_dataset import LeRobotDataset  # noqa: E402

BLOCK = 32
BITS = 20


def counter(image):
    """The number in a picture: float CHW in 0..1."""
    number = 0
    for bit in range(BITS):
        x = bit % 10 * BLOCK + BLOCK // 2
        y = bit // 10 * BLOCK + BLOCK // 2
        number |= int(image[1, y, x].item() > 0.5) << bit
    return number


def backends():
    found = ["pyav"]
    try:
        import torchcodec.decoders  # noqa: F401

        found.append("torchcodec")
    except Exception as error:  # it needs FFmpeg libraries that a machine may lack
        print(f"torchcodec cannot be imported: {error}", file=sys.stderr)
    return found


def rows(root, backend):
    dataset = LeRobotDataset("sinew/test", root=root, video_backend=backend)
    cameras = dataset.meta.video_keys
    extras = [name for name in dataset.features if name.startswith("timing.")]
    out = []
    for i in range(len(dataset)):
        item = dataset[i]
        out.append(
            [
                item["episode_index"].item(),
                item["frame_index"].item(),
                item["index"].item(),
                item["timestamp"].item(),
                item["task"],
                item["observation.state"].tolist(),
                [value for name in extras for value in item[name].reshape(-1).tolist()],
                {camera: counter(item[camera]) for camera in cameras},
            ]
        )
    return dataset, out


def statistics(dataset):
    """Largest difference between the dataset's statistics and lerobot's own, in units of range/5000."""
    import numpy
    from lerobot.datasets.compute_stats import RunningQuantileStats

    worst = 0.0
    for name in ("observation.state", "action"):
        values = numpy.stack([numpy.asarray(v, dtype=numpy.float64) for v in dataset.hf_dataset[name]])
        own = RunningQuantileStats()
        own.update(values)
        own = own.get_statistics()
        bin_width = (values.max() - values.min()) / 5000
        for key in ("min", "max", "mean", "std"):
            worst = max(worst, float(numpy.abs(own[key] - dataset.meta.stats[name][key]).max() / bin_width))
    return worst


def main():
    root = sys.argv[1]
    report = {"lerobot": version("lerobot"), "backends": {}}
    for backend in backends():
        dataset, report["backends"][backend] = rows(root, backend)
    report["total_episodes"] = dataset.meta.total_episodes
    report["total_frames"] = dataset.meta.total_frames
    report["robot_type"] = dataset.meta.robot_type
    report["stats_keys"] = sorted(dataset.meta.stats)
    report["stats_difference"] = statistics(dataset)
    windows = LeRobotDataset(
        "sinew/test", root=root, delta_timestamps={"action": [0.0, 1 / 30, 2 / 30]}, video_backend="pyav"
    )
    report["window_shape"] = list(windows[0]["action"].shape)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
