"""Compares SinewDataset with lerobot's LeRobotDataset on one dataset, item by item and batch by batch.

Usage: sinew_dataset.py ROOT

Everything must be equal: keys, types, shapes, numbers to the bit, pixels to those of lerobot's pyav
backend. Prints one JSON object that says how much was compared.
"""

import json
import os
import pickle
import sys
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy  # noqa: E402
import torch  # noqa: E402
from lerobot.datasets import EpisodeAwareSampler  # noqa: E402
from lerobot.datasets.lerobot_dataset import LeRobotDataset  # noqa: E402
from sinew_datasets import SinewDataset  # noqa: E402
from torch.utils.data import DataLoader, default_collate  # noqa: E402

COMPARED = dict.fromkeys(["items", "windows", "batches", "values"], 0)


def same(theirs, ours, place):
    """Both are one item or one batch, and equal."""
    assert theirs.keys() == ours.keys(), f"{place}: {theirs.keys() ^ ours.keys()}"
    for key, expected in theirs.items():
        found, where = ours[key], f"{place}, {key}"
        if isinstance(expected, torch.Tensor):
            kinds = (expected.dtype, expected.shape), (found.dtype, found.shape)
            assert kinds[0] == kinds[1], f"{where}: {kinds}"
            assert torch.equal(expected, found), f"{where}: the values differ"
        else:
            assert expected == found, f"{where}: {expected} {found}"
        COMPARED["values"] += 1


def pair(root, **options):
    return LeRobotDataset("sinew/test", root=root, video_backend="pyav", **options), SinewDataset(root, **options)


def items(root):
    for options in ({}, {"return_uint8": True}):
        theirs, ours = pair(root, **options)
        assert len(theirs) == len(ours) == theirs.num_frames == ours.num_frames
        for index in range(len(theirs)):
            same(theirs[index], ours[index], f"{options} item {index}")
            COMPARED["items"] += 1
    same(theirs[-1], ours[-1], "the last item")
    same(theirs[numpy.int64(1)], ours[numpy.int64(1)], "a number of numpy's")
    for part in (slice(2, 9, 3), slice(-3, None), slice(5, 2)):
        for one, other in zip(theirs[part], ours[part], strict=True):
            same(one, other, f"item of {part}")
    for outside in (len(ours), -len(ours) - 1):
        try:
            ours[outside]
            raise AssertionError(f"{outside} is outside")
        except IndexError:
            pass


def windows(root):
    fps = SinewDataset(root).fps
    cameras = [k for k, f in SinewDataset(root).features.items() if f["dtype"] == "video"]
    deltas = {
        "observation.state": [-2 / fps, -1 / fps, 0.0],
        "action": [i / fps for i in range(25)],
        "timestamp": [0.0],
        cameras[0]: [-3 / fps, -1 / fps, 0.0, 1 / fps],
    }
    for single in (False, True):
        if single:
            deltas = {camera: [0.0] for camera in cameras}
        theirs, ours = pair(root, delta_timestamps=deltas)
        for index in range(0, len(ours), 3):
            same(theirs[index], ours[index], f"window {index}")
            COMPARED["windows"] += 1


def chosen(root):
    """Some episodes only, in whatever order they are named, with transforms."""

    def double(picture):
        return picture * 2

    total = SinewDataset(root).meta.total_episodes
    episodes = [total - 1, 0]
    deltas = {"action": [0.0, 1 / SinewDataset(root).fps]}
    theirs, ours = pair(root, episodes=episodes, image_transforms=double, delta_timestamps=deltas)
    assert (len(theirs), theirs.num_episodes) == (len(ours), ours.num_episodes)
    assert theirs.absolute_to_relative_idx == dict(ours.absolute_to_relative_idx)
    for index in range(0, len(ours), 2):
        same(theirs[index], ours[index], f"chosen item {index}")
    samplers = [
        EpisodeAwareSampler(
            dataset.meta.episodes["dataset_from_index"],
            dataset.meta.episodes["dataset_to_index"],
            episode_indices_to_use=dataset.episodes,
            drop_n_last_frames=1,
            shuffle=True,
            seed=3,
            absolute_to_relative_idx=dataset.absolute_to_relative_idx,
        )
        for dataset in (theirs, ours)
    ]
    assert list(samplers[0]) == list(samplers[1])
    ours.clear_image_transforms()
    theirs.clear_image_transforms()
    same(theirs[1], ours[1], "after the transforms")
    longest = max(theirs.meta.episodes["length"])
    theirs, ours = pair(root, episode_filter=lambda episode: episode["length"] == longest)
    assert theirs.episodes == ours.episodes


def batches(root):
    """DataLoaders with the same generator give the same batches, whatever their workers."""

    def loader(dataset, workers, start):
        shuffled = torch.Generator().manual_seed(11)
        context = start if workers else None
        return DataLoader(
            dataset, batch_size=5, shuffle=True, generator=shuffled, num_workers=workers, multiprocessing_context=context
        )

    deltas = {"action": [0.0, 1 / SinewDataset(root).fps]}
    theirs, ours = pair(root, delta_timestamps=deltas)
    # Files and decoders are open in the parent before any worker is started.
    ours[0]
    expected = list(loader(theirs, 0, None))
    for workers, start in ((0, None), (2, "fork"), (2, "spawn"), (2, "forkserver")):
        for number, (one, other) in enumerate(zip(expected, loader(ours, workers, start), strict=True)):
            same(one, other, f"{workers} workers, {start}, batch {number}")
            COMPARED["batches"] += 1
    copy = pickle.loads(pickle.dumps(ours))
    same(theirs[3], copy[3], "a pickled dataset")


def own_loader(root):
    """The loader's batches are what default_collate makes of the items, in order or shuffled."""
    dataset = SinewDataset(root, delta_timestamps={"action": [0.0]})
    found = list(dataset.loader(batch_size=4))
    assert len(found) == -(-len(dataset) // 4)
    for number, batch in enumerate(found):
        wanted = default_collate(dataset[number * 4 : number * 4 + 4])
        same(wanted, batch, f"batch {number} of the loader")
    shuffled = dataset.loader(batch_size=4, shuffle=True, seed=5)
    order = torch.cat([batch["index"] for batch in shuffled])
    assert not torch.equal(order, torch.arange(len(dataset)))
    assert torch.equal(order.sort().values, torch.arange(len(dataset)))
    rest = dataset.loader(shuffle=True, seed=5, start=7)
    assert [int(item["index"]) for item in rest] == order[7:].tolist()
    again = dataset.loader(batch_size=4, shuffle=True, seed=5, epoch=1)
    assert not torch.equal(order, torch.cat([batch["index"] for batch in again]))


def metadata(root):
    theirs, ours = pair(root)
    for name in ("fps", "num_episodes", "num_frames", "features", "episodes", "depth_output_unit"):
        assert getattr(theirs, name) == getattr(ours, name), name
    names = "fps features robot_type total_episodes total_frames total_tasks camera_keys video_keys image_keys"
    names += " depth_keys names shapes chunks_size data_path video_path has_language_columns"
    for name in names.split():
        assert getattr(theirs.meta, name) == getattr(ours.meta, name), name
    assert theirs.meta.stats.keys() == ours.meta.stats.keys()
    for key, kinds in theirs.meta.stats.items():
        for kind, value in kinds.items():
            assert numpy.array_equal(value, ours.meta.stats[key][kind], equal_nan=True), (key, kind)
            assert value.dtype == ours.meta.stats[key][kind].dtype
    for column in theirs.meta.episodes.column_names:
        expected = list(theirs.meta.episodes[column])
        if column == "tasks":
            assert list(map(sorted, expected)) == list(map(sorted, ours.meta.episodes[column]))
        else:
            assert expected == ours.meta.episodes[column], column
    assert theirs.meta.episodes[1]["length"] == ours.meta.episodes[1]["length"]
    assert theirs.meta.tasks.equals(ours.meta.tasks) and theirs.meta.tasks.iloc[0].name == ours.meta.tasks.iloc[0].name
    assert theirs.meta.get_data_file_path(1) == ours.meta.get_data_file_path(1)
    for key in theirs.meta.video_keys:
        assert theirs.meta.get_video_file_path(1, key) == ours.meta.get_video_file_path(1, key)
    column = [dataset.hf_dataset.data.column("task_index").to_numpy() for dataset in (theirs, ours)]
    assert numpy.array_equal(*column)
    raw = {key: value for key, value in theirs.get_raw_item(2).items() if key not in theirs.meta.camera_keys}
    same(raw, ours.get_raw_item(2), "the raw item")


def memory(root):
    """Tensors are the reader's own memory: writable, and nobody else's."""
    dataset = SinewDataset(root)
    first, second = dataset[0], dataset[0]
    camera = dataset.meta.camera_keys[0]
    kept = second[camera].clone()
    first[camera].fill_(0.5)
    assert torch.equal(second[camera], kept) and torch.equal(dataset[0][camera], kept)
    for value in first.values():
        if isinstance(value, torch.Tensor):
            assert value.data_ptr() % value.element_size() == 0 and value.is_contiguous()
    arrays = SinewDataset(root, as_numpy=True)[0]
    for key, value in second.items():
        if isinstance(value, torch.Tensor):
            assert isinstance(arrays[key], numpy.ndarray) and arrays[key].flags.writeable
            assert numpy.array_equal(arrays[key], value.numpy()), key
    exact = SinewDataset(root, exact_dtypes=True, as_numpy=True)[0]
    for key, feature in dataset.features.items():
        if feature["dtype"] not in ("image", "video", "string", "language"):
            assert exact[key].dtype == feature["dtype"], key


def main():
    warnings.simplefilter("error", UserWarning)
    root = sys.argv[1]
    for check in (items, windows, chosen, batches, own_loader, metadata, memory):
        check(root)
    assert all(COMPARED.values())
    print(json.dumps(COMPARED))


if __name__ == "__main__":
    main()
