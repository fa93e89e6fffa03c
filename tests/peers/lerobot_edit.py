"""Judges edits of datasets by lerobot's own editing tools (datasets/tests/editing_lerobot.rs).

Usage: lerobot_edit.py make ROOT FIRST_EPISODE TASK,TASK,... [matrix]
       lerobot_edit.py judge DIR

`make` records a dataset with the real lerobot package, one episode a task, all in one file a camera,
with the counter pictures of datasets/tests/support/mod.rs and columns of many types; `matrix` adds a
two-dimensional one, at which lerobot 0.6.1's own tools fail. `judge` reads
DIR/edits.json, a list of edits: what was done to which datasets, where our result is, and from which
rows of the sources each of its episodes comes. It does the same with lerobot's tools where they can,
and compares rows, frames and statistics. It prints a report as JSON and fails at the first difference.
"""

import json
import os
import shutil
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import av  # noqa: E402
import numpy  # noqa: E402
from lerobot.datasets import dataset_tools as tools  # noqa: E402
from lerobot.datasets.lerobot_dataset import LeRobotDataset  # noqa: E402

CAMERAS = ["front", "wrist"]
BLOCK = 32
OWN = ["timestamp", "frame_index", "episode_index", "index", "task_index"]
QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


def picture(number, width=320, height=240):
    image = numpy.full((height, width, 3), 90, numpy.uint8)
    for bit in range(20):
        x, y = bit % 10 * BLOCK, bit // 10 * BLOCK
        image[y : y + BLOCK, x : x + BLOCK] = (number >> bit & 1) * 255
    return image


def counter(image):
    """The number in a picture: float CHW in 0..1."""
    number = 0
    for bit in range(20):
        x = bit % 10 * BLOCK + BLOCK // 2
        y = bit // 10 * BLOCK + BLOCK // 2
        number |= int(image[1, y, x].item() > 0.5) << bit
    return number


def make(root, first, tasks, matrix):
    names = [f"joint_{joint}.pos" for joint in range(6)]
    vector = {"dtype": "float32", "shape": (6,), "names": names}
    video = {"dtype": "video", "shape": (240, 320, 3), "names": ["height", "width", "channels"]}
    features = {"observation.state": vector, "action": vector}
    features |= {f"observation.images.{camera}": video for camera in CAMERAS}
    features["observation.images.small"] = video | {"dtype": "image", "shape": (32, 48, 3)}
    if matrix:
        features["observation.tactile"] = {"dtype": "float32", "shape": (2, 3), "names": None}
    features["next.done"] = {"dtype": "bool", "shape": (1,), "names": None}
    features["note"] = {"dtype": "string", "shape": (1,), "names": None}
    features["counts"] = {"dtype": "uint8", "shape": (3,), "names": None}
    dataset = LeRobotDataset.create("sinew/test", 30, features, root=root, robot_type="so101_follower")
    for offset, task in enumerate(tasks):
        episode = first + offset
        rows = 9 + 3 * offset
        for frame in range(rows):
            state = numpy.array([episode * 1000 + frame + joint / 10 for joint in range(6)], numpy.float32)
            row = {"observation.state": state, "action": -state, "task": task}
            for index, camera in enumerate(CAMERAS):
                row[f"observation.images.{camera}"] = picture(episode << 14 | index << 12 | frame)
            row["observation.images.small"] = numpy.full((32, 48, 3), (episode * 16 + frame) % 256, numpy.uint8)
            if matrix:
                row["observation.tactile"] = numpy.arange(6, dtype=numpy.float32).reshape(2, 3) + frame
            row["next.done"] = numpy.array([frame == rows - 1])
            row["note"] = f"row {frame} of {episode}"
            row["counts"] = numpy.array([frame, episode, 255], numpy.uint8)
            dataset.add_frame(row)
        dataset.save_episode()
    dataset.finalize()


def load(root):
    return LeRobotDataset("sinew/test", root=root, video_backend="pyav")


def column(dataset, name):
    """A stored column as Python values, bytes of images included."""
    values = dataset.hf_dataset.data.column(name).to_pylist()
    if values and isinstance(values[0], dict) and "bytes" in values[0]:
        return [value["bytes"] for value in values]
    return values


def video_frames(dataset, key, cache):
    """Decoded frames of each episode, as the files and the episode table have them."""
    episodes = []
    for index in range(dataset.meta.total_episodes):
        path = dataset.root / dataset.meta.get_video_file_path(index, key)
        if path not in cache:
            with av.open(str(path)) as container:
                stream = container.streams.video[0]
                cache[path] = [
                    (float(f.pts * stream.time_base), f.to_ndarray(format="rgb24")) for f in container.decode(stream)
                ]
        entry = dataset.meta.episodes[index]
        start = entry[f"videos/{key}/from_timestamp"]
        end = entry[f"videos/{key}/to_timestamp"]
        times = [start + i / dataset.fps for i in range(entry["length"])]
        assert abs(end - start - entry["length"] / dataset.fps) < 1e-6, (key, index, start, end)
        first = round(start * dataset.fps)
        frames = cache[path][first : first + entry["length"]]
        assert len(frames) == entry["length"], (key, index, len(frames))
        for (time, _), wanted in zip(frames, times, strict=True):
            assert abs(time - wanted) < 1e-4, (key, index, time, wanted)
        episodes.append([frame for _, frame in frames])
    return episodes


def check_readable(dataset):
    """Reads every row through LeRobotDataset and returns the counters of its cameras."""
    counters = []
    for index in range(len(dataset)):
        item = dataset[index]
        counters.append({key: counter(item[key]) for key in dataset.meta.video_keys})
    return counters


def check_mapping(ours, sources, mapping, edit, cache):
    """Every row and frame is that of the source which the edit names."""
    new_names = edit.get("renamed", {})
    back = {new: old for old, new in new_names.items()}
    added = edit.get("added", [])
    moved = 0
    for name in ours.features:
        if name in OWN or name in added or name in ours.meta.video_keys:
            continue
        old = [column(source, back.get(name, name)) for source in sources]
        wanted = []
        for source, episode, start, end in mapping:
            first = sources[source].meta.episodes[episode]["dataset_from_index"]
            wanted += old[source][first + start : first + end]
        assert column(ours, name) == wanted, (edit["result"], name)
    for key in ours.meta.video_keys:
        own = video_frames(ours, key, cache)
        old = [video_frames(source, back.get(key, key), cache) for source in sources]
        for index, (source, episode, start, end) in enumerate(mapping):
            same = [numpy.array_equal(a, b) for a, b in zip(own[index], old[source][episode][start:end], strict=True)]
            if f"{key}:{index}" not in edit.get("reencoded", []) and key not in edit.get("reencoded", []):
                assert all(same), (edit["result"], key, index, same)
                moved += len(same)
    index, rows = 0, {name: column(ours, name) for name in OWN}
    for episode, (_, _, start, end) in enumerate(mapping):
        entry = ours.meta.episodes[episode]
        assert (entry["dataset_from_index"], entry["length"]) == (index, end - start), entry
        for frame in range(end - start):
            assert rows["index"][index] == index and rows["frame_index"][index] == frame
            assert rows["episode_index"][index] == episode
            assert rows["timestamp"][index] == numpy.float32(frame / ours.fps), (index, rows["timestamp"][index])
            index += 1
    assert index == len(ours)
    return moved


def check_statistics(ours):
    """Statistics of numbers against numpy on all rows; exact ranks for quantiles."""
    for name, feature in ours.features.items():
        if feature["dtype"] in ("video", "image", "string"):
            continue
        rows = numpy.array(column(ours, name), numpy.float64)
        # Of a matrix, lerobot takes the values with the same place on the last axis together.
        values = rows.reshape(-1, feature["shape"][-1])
        stats = ours.meta.stats[name]
        wanted = {"min": values.min(0), "max": values.max(0), "mean": values.mean(0), "std": values.std(0)}
        wanted |= {n: numpy.quantile(values, q, axis=0, method="inverted_cdf") for n, q in QUANTILES.items()}
        assert stats["count"] == [len(rows)], (name, stats["count"])
        for key, value in wanted.items():
            assert stats[key].shape == value.shape, (name, key, stats[key].shape, value.shape)
            numpy.testing.assert_allclose(stats[key], value, rtol=1e-9, atol=1e-9, err_msg=f"{name} {key}")


def lerobots(edit, sources, out):
    """The same edit by lerobot's tools; None where it has none."""
    what, options = edit["operation"], edit.get("options", {})
    if what == "delete":
        return tools.delete_episodes(sources[0], options["episodes"], out, "sinew/test")
    if what == "split":
        return tools.split_dataset(sources[0], options["parts"], out)[options["part"]]
    if what == "merge":
        return tools.merge_datasets(sources, "sinew/test", out)
    if what == "drop":
        return tools.remove_feature(sources[0], options["features"], out, "sinew/test")
    if what == "add":
        values = numpy.arange(len(sources[0]), dtype=numpy.float32)
        info = {"dtype": "float32", "shape": (1,), "names": None}
        return tools.add_features(sources[0], {options["feature"]: (values, info)}, out, "sinew/test")
    if what == "relabel":
        shutil.copytree(sources[0].root, out)
        return tools.modify_tasks(load(out), task_replacements=options["replace"])
    return None


def compare(ours, theirs, edit, sources):
    """Rows, tasks, frames and picture statistics of both results."""
    assert set(ours.features) == set(theirs.features), (set(ours.features), set(theirs.features))
    for name, feature in ours.features.items():
        other = theirs.features[name]
        assert (feature["dtype"], tuple(feature["shape"])) == (other["dtype"], tuple(other["shape"])), name
        if name != "task_index" and name not in ours.meta.video_keys:
            assert column(ours, name) == column(theirs, name), (edit["result"], name)
    assert ours.meta.total_tasks == theirs.meta.total_tasks
    assert [ours[i]["task"] for i in range(len(ours))] == [theirs[i]["task"] for i in range(len(theirs))]
    assert check_readable(ours) == check_readable(theirs)
    for key in ours.meta.camera_keys:
        for statistic, value in theirs.meta.stats.get(key, {}).items():
            # lerobot takes the mean of the datasets' quantiles; ours are those of all pictures, where
            # the sources know how often each level occurs: between the least and the greatest of theirs.
            if edit["operation"] == "merge" and statistic in QUANTILES and (ours.root / "meta/sinew_levels.json").exists():
                of_sources = [source.meta.stats[key][statistic] for source in sources]
                low, high = numpy.min(of_sources, axis=0), numpy.max(of_sources, axis=0)
                own = ours.meta.stats[key][statistic]
                assert ((low - 1e-9 <= own) & (own <= high + 1e-9)).all(), (key, statistic, low, own, high)
                continue
            numpy.testing.assert_allclose(ours.meta.stats[key][statistic], value, rtol=1e-6, atol=1e-9, err_msg=f"{key} {statistic}")
    for index in range(ours.meta.total_episodes):
        a, b = ours.meta.episodes[index], theirs.meta.episodes[index]
        assert (a["length"], set(a["tasks"])) == (b["length"], set(b["tasks"])), (a, b)


def judge(folder):
    report = []
    for number, edit in enumerate(json.loads((folder / "edits.json").read_text())):
        cache = {}
        sources = [load(folder / name) for name in edit["sources"]]
        ours = load(folder / edit["result"])
        moved = check_mapping(ours, sources, edit["mapping"], edit, cache)
        counters = check_readable(ours)
        check_statistics(ours)
        own_only = "observation.tactile" in sources[0].features
        theirs = None if own_only else lerobots(edit, sources, folder / f"lerobot_{number}")
        if theirs is not None:
            theirs = load(theirs.root)
            compare(ours, theirs, edit, sources)
        report.append(
            {
                "result": edit["result"],
                "rows": len(ours),
                "pictures": len(ours) * len(ours.meta.video_keys),
                "pictures_as_they_were": moved,
                "compared": theirs is not None,
                "counters": counters,
            }
        )
    print(json.dumps(report))


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2], int(sys.argv[3]), sys.argv[4].split(","), "matrix" in sys.argv[5:])
    else:
        judge(Path(sys.argv[2]))
