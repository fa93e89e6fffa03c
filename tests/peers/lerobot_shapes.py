"""Writes datasets of many shapes with the real lerobot package and says what lerobot reads from them.

Usage: lerobot_shapes.py ROOT KIND    (KIND: shapes, depth, h264)

Prints one JSON object: `rows`, one object a frame with `numbers` {feature: [dtype, shape, bytes as hex]},
`texts`, `pictures` {camera: SHA-256 of the pixels} and `task`; `windows`, what `delta_timestamps` gives at
some frames; and the numbers of data and video files. Numbers come from the parquet files through pyarrow (lerobot
turns float64 into float32), pictures through lerobot's own reader with its pyav backend.
"""

import glob
import hashlib
import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy  # noqa: E402
import pyarrow.parquet  # noqa: E402
from lerobot.configs import RGBEncoderConfig  # noqa: E402
from lerobot.datasets.lerobot_dataset import LeRobotDataset  # noqa: E402

FPS = 10
CAMERAS = ["front", "wrist"]
HEIGHT, WIDTH = 96, 136
DTYPES = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


def features(kind):
    plain = {"dtype": "float32", "names": None}
    names = ["height", "width", "channels"]
    video = {"dtype": "video", "shape": (HEIGHT, WIDTH, 3), "names": names}
    found = {
        "observation.state": plain | {"shape": (6,)},
        "action": plain | {"shape": (6,)},
    }
    found |= {f"observation.images.{camera}": video for camera in CAMERAS}
    if kind == "shapes":
        found |= {f"scalar.{dtype}": {"dtype": dtype, "shape": (1,), "names": None} for dtype in DTYPES}
        found |= {f"vector.{dtype}": {"dtype": dtype, "shape": (3,), "names": None} for dtype in DTYPES}
        found["next.done"] = {"dtype": "bool", "shape": (1,), "names": None}
        found["flags"] = {"dtype": "bool", "shape": (4,), "names": None}
        found["matrix"] = plain | {"shape": (2, 3)}
        found["cube"] = plain | {"dtype": "int64", "shape": (2, 3, 4)}
        found["note"] = {"dtype": "string", "shape": (1,), "names": None}
        found["observation.image"] = {"dtype": "image", "shape": (HEIGHT, WIDTH, 3), "names": names}
    if kind == "depth":
        mark = {"shape": (HEIGHT, WIDTH, 1), "names": names, "info": {"is_depth_map": True}}
        found["observation.images.front_depth"] = {"dtype": "video"} | mark
        found["observation.stored_depth"] = {"dtype": "image"} | mark
    return found


def numbers(random, dtype, shape):
    if dtype.startswith("float"):
        return random.standard_normal(shape).astype(dtype)
    info = numpy.iinfo(dtype)
    low, high = max(info.min, -(2**53)), min(info.max, 2**53)
    return random.integers(low, high, shape, dtype=numpy.int64, endpoint=True).astype(dtype)


def value(random, feature, frame):
    dtype, shape = feature["dtype"], feature["shape"]
    if dtype == "string":
        return f"Schritt {frame} – Würfel"
    if dtype == "bool":
        return random.integers(0, 2, shape).astype(bool)
    if dtype in ("video", "image"):
        if shape[2] == 1:
            return random.integers(0, 12000, shape).astype(numpy.uint16)
        picture = random.integers(0, 256, shape, dtype=numpy.uint8)
        # Half noise, so that files grow; half smooth, so that colours matter.
        picture[:, : WIDTH // 2] = numpy.linspace(0, 255, WIDTH // 2 * 3).reshape(1, -1, 3)
        picture[:, : WIDTH // 2, frame % 3] = 255 - frame * 5 % 256
        return picture
    return numbers(random, dtype, shape)


def write(root, kind):
    random = numpy.random.default_rng(7)
    options = {}
    if kind == "h264":
        options["rgb_encoder"] = RGBEncoderConfig(vcodec="h264", g=12, crf=20)
    described = features(kind)
    dataset = LeRobotDataset.create("sinew/test", FPS, described, root=root, robot_type="so101_follower", **options)
    # lerobot cannot join H.264 videos with B-frames into one file, so each gets its own.
    video_mb = 0.001 if kind == "h264" else 0.3
    dataset.meta.update_chunk_settings(data_files_size_in_mb=1, video_files_size_in_mb=video_mb)
    for episode, rows in enumerate([23, 31, 2, 29, 40]):
        for frame in range(rows):
            row = {name: value(random, feature, frame) for name, feature in described.items()}
            row["task"] = ["pick the cube", "place the cube", "Würfel ablegen"][episode % 3]
            dataset.add_frame(row)
        dataset.save_episode()
    dataset.finalize()
    # Fractions make small datasets of many files, but info.json holds whole MB.
    path = f"{root}/meta/info.json"
    with open(path) as file:
        info = json.load(file)
    info["video_files_size_in_mb"] = 1
    with open(path, "w") as file:
        json.dump(info, file, indent=4)


def pixels(tensor):
    """SHA-256 of one picture: bytes HWC, or float32 distances."""
    array = tensor.numpy()
    if array.shape[0] == 3:
        if array.dtype != numpy.uint8:
            array = numpy.rint(array * 255).astype(numpy.uint8)
        array = array.transpose(1, 2, 0)
    return hashlib.sha256(numpy.ascontiguousarray(array).tobytes()).hexdigest()


def packed(array):
    if array.dtype == numpy.bool_:
        array = array.astype(numpy.uint8)
    return array.tobytes().hex()


def rows(root, backend):
    dataset = LeRobotDataset("sinew/test", root=root, video_backend=backend, return_uint8=True)
    files = sorted(glob.glob(f"{root}/data/*/*.parquet"))
    table = pyarrow.concat_tables([pyarrow.parquet.read_table(file) for file in files])
    cameras = dataset.meta.camera_keys
    out = []
    for i in range(len(dataset)):
        item = dataset[i]
        row = {"numbers": {}, "texts": {}, "task": item["task"]}
        for name, feature in dataset.features.items():
            if feature["dtype"] in ("video", "image"):
                continue
            cell = table[name][i].as_py()
            if feature["dtype"] == "string":
                assert item[name] == cell
                row["texts"][name] = cell
            else:
                array = numpy.asarray(cell, dtype=feature["dtype"])
                row["numbers"][name] = [feature["dtype"], list(array.shape), packed(array)]
        row["pictures"] = {camera: pixels(item[camera]) for camera in cameras}
        out.append(row)
    return out


def windows(root):
    deltas = {
        "observation.state": [-0.2, -0.1, 0.0],
        "action": [i / FPS for i in range(25)],
        "observation.images.front": [-0.3, -0.1, 0.0, 0.1],
    }
    dataset = LeRobotDataset("sinew/test", root=root, delta_timestamps=deltas, video_backend="pyav", return_uint8=True)
    out = []
    for i in [0, 1, 22, 23, 24, 53, 54, 55, 56, 90, 124]:
        item = dataset[i]
        out.append(
            {
                "index": i,
                "pads": {name: item[f"{name}_is_pad"].tolist() for name in deltas},
                "numbers": {
                    name: [list(item[name].shape), packed(item[name].numpy())]
                    for name in ("observation.state", "action")
                },
                "pictures": [pixels(picture) for picture in item["observation.images.front"]],
            }
        )
    return {"deltas": deltas, "items": out}


def main():
    root, kind = sys.argv[1:]
    write(root, kind)
    report = {
        "rows": rows(root, "pyav"),
        "windows": windows(root),
        "data_files": len(glob.glob(f"{root}/data/*/*.parquet")),
        "video_files": len(glob.glob(f"{root}/videos/*front/*/*.mp4")),
    }
    try:
        import torchcodec.decoders  # noqa: F401

        report["torchcodec"] = [row["pictures"] for row in rows(root, "torchcodec")]
    except ImportError as error:
        print(f"torchcodec cannot be imported: {error}", file=sys.stderr)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
