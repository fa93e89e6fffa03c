"""A dataset's metadata under the names that lerobot gives it."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy

from . import _native

_LANGUAGE = ("language_persistent", "language_events")
_MM_PER_M = 1000.0


class Episodes:
    """The episode table: ``episodes[3]`` is a row, ``episodes["length"]`` a column."""

    def __init__(self, columns: dict[str, list]) -> None:
        self._columns = columns

    @property
    def column_names(self) -> list[str]:
        """Names of the columns."""
        return list(self._columns)

    def __len__(self) -> int:
        return len(self._columns["episode_index"])

    def __getitem__(self, key: int | slice | str) -> Any:
        if isinstance(key, (str, slice)):
            return self._columns[key] if isinstance(key, str) else self._rows(key)
        return {name: values[key] for name, values in self._columns.items()}

    def _rows(self, key: slice) -> dict[str, list]:
        return {name: values[key] for name, values in self._columns.items()}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[number] for number in range(len(self)))

    def __repr__(self) -> str:
        return f"Episodes({len(self)} rows, columns {self.column_names})"


class FrameNumbers(Mapping):
    """Dataset-wide frame number → place among the frames of the chosen episodes."""

    def __init__(self, ranges: list[tuple[int, int]]) -> None:
        starts, ends = numpy.array(ranges, dtype=numpy.int64).reshape(-1, 2).T
        self._starts, self._ends = starts, ends
        self._before = numpy.concatenate(([0], numpy.cumsum(ends - starts)))

    def __len__(self) -> int:
        return int(self._before[-1])

    def __getitem__(self, index: int) -> int:
        at = int(numpy.searchsorted(self._starts, index, side="right")) - 1
        if at < 0 or index >= self._ends[at]:
            raise KeyError(index)
        return int(self._before[at] + index - self._starts[at])

    def __iter__(self) -> Iterator[int]:
        return (self.absolute(place) for place in range(len(self)))

    def absolute(self, place: int) -> int:
        """The dataset-wide number of the frame at ``place``."""
        at = int(numpy.searchsorted(self._before, place, side="right")) - 1
        return int(self._starts[at] + place - self._before[at])


class Metadata:
    """What ``LeRobotDatasetMetadata`` offers to those who read."""

    def __init__(self, repo_id: str, root: Path | str, revision: str, native: _native.Dataset) -> None:
        self.repo_id = repo_id
        self.root = root
        self.revision = revision
        self.info = SimpleNamespace(**json.loads(native.metadata_file("info.json") or b"{}"))
        for feature in self.info.features.values():
            feature["shape"] = tuple(feature["shape"])
        #: Statistics by feature and kind, as arrays; None if the dataset has none.
        self.stats = _statistics(native.metadata_file("stats.json"))
        #: The task sentences, by number.
        self.task_names: list[str] = native.tasks()
        self.episodes = Episodes(native.episodes())

    def __repr__(self) -> str:
        return (
            f"Metadata({self.repo_id!r}, {self.total_episodes} episodes, {self.total_frames} frames, "
            f"features {list(self.features)})"
        )

    @property
    def fps(self) -> int:
        """Frames a second."""
        return self.info.fps

    @property
    def features(self) -> dict[str, dict]:
        """The features: type, shape and names."""
        return self.info.features

    @property
    def robot_type(self) -> str | None:
        """LeRobot's name of the robot."""
        return self.info.robot_type

    @property
    def total_episodes(self) -> int:
        """Episodes in the dataset."""
        return self.info.total_episodes

    @property
    def total_frames(self) -> int:
        """Frames in the dataset."""
        return self.info.total_frames

    @property
    def total_tasks(self) -> int:
        """Task sentences in the dataset."""
        return self.info.total_tasks

    @property
    def chunks_size(self) -> int:
        """Files in one chunk folder."""
        return self.info.chunks_size

    @property
    def data_path(self) -> str:
        """Template of the data files' paths."""
        return self.info.data_path

    @property
    def video_path(self) -> str | None:
        """Template of the video files' paths."""
        return self.info.video_path

    @property
    def tasks(self) -> Any:
        """A pandas table as in lerobot: the sentences as index, the column ``task_index``."""
        import pandas

        index = pandas.Index(self.task_names, name="task")
        return pandas.DataFrame({"task_index": range(len(index))}, index=index)

    def get_task_index(self, task: str) -> int | None:
        """The number of a task sentence, or None."""
        return self.task_names.index(task) if task in self.task_names else None

    @property
    def image_keys(self) -> list[str]:
        """Cameras whose pictures are in the data files."""
        return [key for key, feature in self.features.items() if feature["dtype"] == "image"]

    @property
    def video_keys(self) -> list[str]:
        """Cameras whose pictures are in videos."""
        return [key for key, feature in self.features.items() if feature["dtype"] == "video"]

    @property
    def camera_keys(self) -> list[str]:
        """All cameras."""
        return [key for key, feature in self.features.items() if feature["dtype"] in ("image", "video")]

    @property
    def depth_keys(self) -> list[str]:
        """Cameras that see distances."""

        def is_depth(feature: dict) -> bool:
            info, video_info = feature.get("info") or {}, feature.get("video_info") or {}
            legacy = "video.is_depth_map"
            return bool(info.get("is_depth_map") or info.get(legacy) or video_info.get(legacy))

        return [key for key, feature in self.features.items() if is_depth(feature)]

    @property
    def has_language_columns(self) -> bool:
        """Whether there are lerobot's columns of utterances and plans."""
        return any(column in self.features for column in _LANGUAGE)

    @property
    def names(self) -> dict[str, Any]:
        """The names of each feature's entries."""
        return {key: feature["names"] for key, feature in self.features.items()}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each feature."""
        return {key: tuple(feature["shape"]) for key, feature in self.features.items()}

    def get_data_file_path(self, ep_index: int) -> Path:
        """The data file of an episode, relative to the dataset."""
        episode = self.episodes[ep_index]
        chunk, file = episode["data/chunk_index"], episode["data/file_index"]
        return Path(self.data_path.format(chunk_index=chunk, file_index=file))

    def get_video_file_path(self, ep_index: int, vid_key: str) -> Path:
        """The video file of an episode and a camera, relative to the dataset."""
        if self.video_path is None:
            raise KeyError(vid_key)
        episode = self.episodes[ep_index]
        chunk, file = episode[f"videos/{vid_key}/chunk_index"], episode[f"videos/{vid_key}/file_index"]
        return Path(self.video_path.format(video_key=vid_key, chunk_index=chunk, file_index=file))

    def rescale_depth_stats(self, output_unit: str) -> None:
        """Converts the statistics of depth cameras to the unit in which their pictures are given."""
        for key in self.depth_keys:
            unit = (self.features[key].get("info") or {}).get("depth_unit")
            if self.stats is None or unit in (None, output_unit) or key not in self.stats:
                continue
            factor = _MM_PER_M if unit == "m" else 1.0 / _MM_PER_M
            scaled = {kind: v if kind == "count" else v * factor for kind, v in self.stats[key].items()}
            self.stats[key] = scaled


def _statistics(text: bytes | None) -> dict[str, dict[str, numpy.ndarray]] | None:
    if text is None:
        return None
    return {
        key: {kind: numpy.atleast_1d(numpy.array(value)) for kind, value in kinds.items()}
        for key, kinds in json.loads(text).items()
    }
