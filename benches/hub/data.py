"""What is uploaded: bytes that do not compress, the same for the same seed."""

import base64
import os
import random
from pathlib import Path

MB = 1_000_000
# Of a video or a table: its index at the end, which every change rewrites.
INDEX = 0.001


def noise(size, seed):
    """Bytes in pieces of a megabyte. Random pieces would repeat nothing, and neither do these: each is a new stream."""
    dice = random.Random(seed)
    for start in range(0, size, MB):
        yield dice.randbytes(min(MB, size - start))


def write(path, size, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for piece in noise(size, seed):
            file.write(piece)


def large(folder, size):
    write(folder / "large.bin", size, 1)


def small(folder, count, size, ending):
    """Files in folders of 500. `.json` ones, which a hub keeps in git, are text."""
    dice = random.Random(2)
    for number in range(count):
        path = folder / f"part-{number // 500:03}" / f"file-{number:05}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = dice.randbytes(size)
        if ending == "json":
            content = b'"' + base64.b64encode(content)[: size - 2] + b'"'
        path.write_bytes(content)


class Dataset:
    """A folder as LeRobot lays it out (v3.0): videos of two cameras and tables that episodes are appended to until a
    file is full, and metadata that every episode rewrites."""

    # Bytes of an episode's video, a camera, and of its rows.
    VIDEO, ROWS = 9_900_000, 200_000
    FULL_VIDEO, FULL_ROWS = 200 * MB, 100 * MB
    CAMERAS = ["observation.images.front", "observation.images.wrist"]

    def __init__(self, folder, size):
        self.folder, self.episodes = Path(folder), 0
        self.open = {}
        while self.episodes * self.episode_bytes() < size:
            self.append()

    def episode_bytes(self):
        return len(self.CAMERAS) * self.VIDEO + self.ROWS

    def append(self):
        for camera in self.CAMERAS:
            self.grow(f"videos/{camera}/chunk-000/file-{{:03}}.mp4", self.VIDEO, self.FULL_VIDEO)
        self.grow("data/chunk-000/file-{:03}.parquet", self.ROWS, self.FULL_ROWS)
        self.episodes += 1
        write(self.folder / "meta/episodes/chunk-000/file-000.parquet", 1500 * self.episodes, f"episodes {self.episodes}")
        for name in ("info", "stats"):
            text = f'{{"codebase_version": "v3.0", "total_episodes": {self.episodes}, "fps": 30}}'
            (self.folder / f"meta/{name}.json").write_text(text)

    def grow(self, pattern, size, full):
        """Appends to the newest file of a kind, over its index, and writes a new index."""
        number, body = self.open.get(pattern, (0, 0))
        if body + size > full:
            number, body = number + 1, 0
        path = self.folder / pattern.format(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("r+b" if path.exists() else "wb") as file:
            file.seek(body)
            for piece in noise(size, f"{path.name} {pattern} {self.episodes}"):
                file.write(piece)
            body += size
            file.write(random.Random(f"index {pattern} {self.episodes}").randbytes(int(body * INDEX) + 4000))
        self.open[pattern] = (number, body)


def insert(path, at, count):
    """Bytes into the middle of a file."""
    other = path.with_suffix(".new")
    with path.open("rb") as old, other.open("wb") as new:
        copy(old, new, at)
        new.write(random.Random(3).randbytes(count))
        copy(old, new, path.stat().st_size - at)
    os.replace(other, path)


def copy(old, new, count):
    while count and (piece := old.read(min(MB, count))):
        new.write(piece)
        count -= len(piece)
