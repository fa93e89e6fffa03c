"""The native module. Use ``SinewDataset``; these are its parts."""

import os
from typing import Any

# Name of a column, its element type in numpy's words ("text" and "json" for strings), its shape, and
# a Buffer or a list of strings. Text of a single frame has the empty shape.
Entry = tuple[str, str, list[int], Any]

class DatasetError(ValueError):
    """A file of the dataset is damaged, or rows and video do not belong together."""

class Buffer:
    """Memory with the buffer protocol: bytes of numbers, aligned for their type, writable."""

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

class Dataset:
    """A LeRobot v3.0 dataset in a folder or on a hub (``hub://organisation/name``): its metadata is read,
    data and videos when asked for."""

    def __new__(cls, root: str | os.PathLike[str]) -> Dataset: ...
    def __len__(self) -> int: ...
    def metadata_file(self, name: str) -> bytes | None:
        """The contents of a file of the folder ``meta``; None if there is none of that name."""

    def tasks(self) -> list[str]:
        """The task sentences, by number."""

    def episodes(self) -> dict[str, list[Any]]:
        """The columns of the episode table but for the statistics."""

    def reader(
        self,
        *,
        features: list[str] | None,
        delta_timestamps: list[tuple[str, list[float]]],
        tolerance_s: float,
        depth_unit: str,
        cache_bytes: int,
        parallel_cameras: bool,
        uint8: bool,
        exact: bool,
    ) -> Reader:
        """A reader of the ``features`` (all for None), with windows at ``delta_timestamps``."""

class Reader:
    """Reads frames by their number in the dataset."""

    def get(self, index: int) -> list[Entry]: ...
    def get_many(self, indices: list[int], threads: int) -> list[list[Entry]]: ...
    def load(
        self,
        *,
        seed: int | None,
        epoch: int,
        threads: int,
        ahead: int,
        episodes: list[int] | None,
        drop_last_frames: int,
        start: int,
    ) -> Loader: ...

class Loader:
    """Gives frames that threads read ahead."""

    def remaining(self) -> int: ...
    def next(self) -> list[Entry] | None: ...
    def next_batch(self, count: int) -> list[Entry] | None: ...
