"""The dataset class that takes the place of lerobot's."""

import operator
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import _native, places
from .loader import Loader
from .meta import FrameNumbers, Metadata
from .tensors import in_worker, torch, unpack

_Base: type = object if torch is None else torch.utils.data.Dataset
# Readers of a parent process. A fork may have caught one of their locks held, so a child neither uses
# nor frees them.
_inherited: list = []


class SinewDataset(_Base):
    """A LeRobot v3.0 dataset: ``dataset[i]`` is a frame as ``LeRobotDataset`` gives it.

    An item has all features of the frame, ``task`` as a string, and ``<feature>_is_pad`` for each
    feature with ``delta_timestamps``. Pictures are float32 CHW from 0 to 1. Tensors are PyTorch's, or
    numpy arrays if PyTorch is not installed or ``as_numpy`` is set.

    Safe to pickle and to use in worker processes, forked or spawned: each opens the files for itself.

    Args:
        repo_id: Name on the Hugging Face Hub, or the path of a folder. ``hub://organisation/name`` is read
            from the hub at ``$HF_ENDPOINT`` without a download, by the ranges that are needed.
        root: Folder of the dataset. Otherwise ``repo_id`` is looked for where LeRobot keeps datasets,
            and downloaded if ``huggingface_hub`` is installed.
        episodes: Numbers of the episodes to use; all if None. Frames come in the order of the dataset.
        episode_filter: Called with each row of the episode table; keeps those for which it is true.
        image_transforms: Called with each camera's picture, depth excepted.
        delta_timestamps: For a feature, the offsets in s at which it is read around each frame.
        tolerance_s: How far a video frame may be from its row's time, and an offset from a frame, s.
        revision: Branch, tag or commit on the Hub.
        return_uint8: Pictures of videos as bytes, 0 to 255.
        depth_output_unit: ``"mm"`` or ``"m"``.
        features: Only these features are read; what is left out costs nothing.
        exact_dtypes: Numbers in the types of the files. LeRobot's items, and these by default, turn
            all whole numbers into int64 and all others into float32.
        as_numpy: numpy arrays although PyTorch is there.
        cache_bytes: Most memory for decoded pictures, in each process.
        threads: Threads that read a batch side by side; by default one a core, and one in the workers
            of a DataLoader.
        force_cache_sync: Asks the Hub although the dataset is here.
        download_videos: Whether a download includes videos.
        token: For the Hub.
        video_backend: Accepted for LeRobot's sake; pictures are those of its pyav backend.

    Raises:
        FileNotFoundError: If there is no such dataset.
        DatasetError: If its metadata is damaged; on access, if a file is.
        ValueError: If the arguments make no sense for the dataset.
        IndexError: If it has no such episode; on access, no such frame.
    """

    def __init__(
        self,
        repo_id: str | os.PathLike[str],
        root: str | os.PathLike[str] | None = None,
        episodes: Sequence[int] | None = None,
        episode_filter: Callable[[dict], bool] | None = None,
        image_transforms: Callable | None = None,
        delta_timestamps: dict[str, list[float]] | None = None,
        tolerance_s: float = 1e-4,
        revision: str | None = None,
        force_cache_sync: bool = False,
        download_videos: bool = True,
        video_backend: str | None = None,
        return_uint8: bool = False,
        depth_output_unit: str = "mm",
        *,
        token: str | bool | None = None,
        features: Sequence[str] | None = None,
        exact_dtypes: bool = False,
        as_numpy: bool = False,
        cache_bytes: int = 256 << 20,
        threads: int | None = None,
    ) -> None:
        super().__init__()
        self.repo_id = os.fspath(repo_id)
        self.revision = revision or places.VERSION
        self.root = self._place(root, revision, token, force_cache_sync, download_videos)
        self.delta_timestamps = delta_timestamps
        self.tolerance_s = tolerance_s
        self.image_transforms = _callable(image_transforms)
        self._as_numpy = as_numpy
        self._threads = threads
        self._depth_output_unit = depth_output_unit
        self._options = {
            "features": None if features is None else list(features),
            "delta_timestamps": [(k, [float(d) for d in v]) for k, v in (delta_timestamps or {}).items()],
            "tolerance_s": tolerance_s,
            "depth_unit": depth_output_unit,
            "cache_bytes": cache_bytes,
            "uint8": return_uint8,
            "exact": exact_dtypes,
        }
        self._readers: dict[str, _native.Reader] = {}
        self._pid = -1
        opened = _native.Dataset(self.root)
        self.meta = Metadata(self.repo_id, self.root, self.revision, opened)
        self.meta.rescale_depth_stats(depth_output_unit)
        self.episodes = self._chosen(episodes, episode_filter)
        self._frames = None
        if self.episodes is not None:
            table = self.meta.episodes
            ranges = [(table["dataset_from_index"][e], table["dataset_to_index"][e]) for e in self._sorted_episodes()]
            self._frames = FrameNumbers(ranges)
        self._length = len(opened) if self._frames is None else len(self._frames)
        self._open(opened)

    def _place(
        self,
        root: str | os.PathLike[str] | None,
        revision: str | None,
        token: str | bool | None,
        again: bool,
        videos: bool,
    ) -> Path | str:
        streamed = places.streamed(self.repo_id, root, revision)
        if streamed is not None:
            return streamed
        found = None if again else places.find(self.repo_id, root, revision)
        return found or places.download(self.repo_id, root, revision, token, videos)

    def _chosen(self, episodes: Sequence[int] | None, predicate: Callable | None) -> list[int] | None:
        if episodes is None and predicate is None:
            return None
        total = len(self.meta.episodes)
        chosen = list(range(total)) if episodes is None else [operator.index(e) for e in episodes]
        outside = [e for e in chosen if not 0 <= e < total]
        if outside:
            raise IndexError(f"{self.root} has no episodes {outside}; it has episodes 0 to {total - 1}")
        if predicate is not None:
            chosen = sorted({e for e in chosen if predicate(self.meta.episodes[e])})
        if not chosen:
            raise ValueError(f"no episode of {self.root} is chosen; change episodes or episode_filter")
        return chosen

    def _sorted_episodes(self) -> list[int]:
        return sorted(set(self.episodes or ()))

    # ── Reading ───────────────────────────────────────────────────────

    def _open(self, dataset: _native.Dataset | None = None) -> _native.Reader:
        """This process's reader, opened when it is first needed."""
        return self._reader("items", dataset, parallel_cameras=not in_worker(), **self._options)

    def _reader(self, name: str, dataset: _native.Dataset | None = None, **options: Any) -> _native.Reader:
        if self._pid != os.getpid():
            _inherited.append(self._readers)
            self._readers, self._pid = {}, os.getpid()
        if name not in self._readers:
            self._readers[name] = (dataset or _native.Dataset(self.root)).reader(**options)
        return self._readers[name]

    def __len__(self) -> int:
        """Frames in the chosen episodes."""
        return self._length

    def _absolute(self, idx: int) -> int:
        place = operator.index(idx)
        if not -self._length <= place < self._length:
            raise IndexError(f"frame {place} of {self._length} in {self.root}")
        place %= self._length
        return place if self._frames is None else self._frames.absolute(place)

    def __getitem__(self, idx: int | slice) -> Any:
        """The frame at ``idx``, which may be negative, or the frames of a slice as a list."""
        if isinstance(idx, slice):
            return self.__getitems__(range(*idx.indices(len(self))))
        return self._item(self._open().get(self._absolute(idx)))

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Several frames, read side by side; a DataLoader asks for its batches this way."""
        threads = self._threads or (1 if in_worker() else len(os.sched_getaffinity(0)))
        numbers = [self._absolute(index) for index in indices]
        return [self._item(entries) for entries in self._open().get_many(numbers, threads)]

    def _item(self, entries: list) -> dict[str, Any]:
        item = unpack(entries, self._as_numpy)
        for key, transform in self._transforms().items():
            item[key] = transform(item[key])
        return item

    def _transforms(self) -> dict[str, Callable]:
        if self.image_transforms is None:
            return {}
        depth, wanted = self.meta.depth_keys, self._options["features"]
        cameras = [k for k in self.meta.camera_keys if k not in depth and (wanted is None or k in wanted)]
        return dict.fromkeys(cameras, self.image_transforms)

    def get_raw_item(self, idx: int) -> dict[str, Any]:
        """One frame without pictures, windows and transforms."""
        numbers = [key for key in self.features if key not in self.meta.camera_keys]
        options = self._options | {"features": numbers, "delta_timestamps": []}
        reader = self._reader("numbers", parallel_cameras=False, **options)
        item = unpack(reader.get(self._absolute(idx)), self._as_numpy)
        del item["task"]
        return item

    def loader(
        self,
        batch_size: int | None = None,
        *,
        shuffle: bool = False,
        seed: int = 0,
        epoch: int = 0,
        threads: int | None = None,
        ahead: int = 32,
        drop_last: bool = False,
        drop_last_frames: int = 0,
        start: int = 0,
    ) -> Loader:
        """Batches as PyTorch's ``default_collate`` makes them, read ahead by threads of this process.

        Args:
            batch_size: Frames in a batch; None gives single frames.
            shuffle: Every frame once, in an order that follows from ``seed`` and ``epoch``.
            threads: Reading threads; one a core by default.
            ahead: Frames that are kept ready.
            drop_last: Leaves out the last batch if it is not full.
            drop_last_frames: Frames left out at the end of each episode.
            start: Frames to skip: a run is resumed by the number that it has used.
        """
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        native = self._open().load(
            seed=seed if shuffle else None,
            epoch=epoch,
            threads=threads or len(os.sched_getaffinity(0)),
            ahead=ahead,
            episodes=None if self.episodes is None else self._sorted_episodes(),
            drop_last_frames=drop_last_frames,
            start=start,
        )
        return Loader(native, batch_size, drop_last, self._as_numpy, self._transforms())

    # ── lerobot's attributes ──────────────────────────────────────────

    @property
    def fps(self) -> int:
        """Frames a second."""
        return self.meta.fps

    @property
    def features(self) -> dict[str, dict]:
        """The features: type, shape and names."""
        return self.meta.features

    @property
    def num_frames(self) -> int:
        """Frames in the chosen episodes."""
        return self._length

    @property
    def num_episodes(self) -> int:
        """Chosen episodes."""
        return self.meta.total_episodes if self.episodes is None else len(self.episodes)

    @property
    def depth_output_unit(self) -> str:
        """Unit of depth pictures and their statistics."""
        return self._depth_output_unit

    @property
    def absolute_to_relative_idx(self) -> FrameNumbers | None:
        """Dataset-wide frame number → index here; None if all episodes are used."""
        return self._frames

    @property
    def hf_features(self) -> Any:
        """The features of the data files as Hugging Face ``datasets`` describes them."""
        return self.hf_dataset.features

    @property
    def hf_dataset(self) -> Any:
        """The rows of the data files as a Hugging Face dataset; needs the package ``datasets``."""
        import datasets
        import pyarrow.dataset

        if isinstance(self.root, str):
            raise ValueError(f"{self.root} is read from the hub by ranges; hf_dataset needs the files: give the name without hub://")
        files = sorted((self.root / "data").glob("*/*.parquet"))
        rows = None
        if self.episodes is not None:
            rows = pyarrow.dataset.field("episode_index").isin(self._sorted_episodes())
        return datasets.Dataset.from_parquet([str(file) for file in files], filters=rows)

    def select_columns(self, column_names: str | list[str]) -> Any:
        """Columns of :attr:`hf_dataset`."""
        return self.hf_dataset.select_columns(column_names)

    def set_image_transforms(self, image_transforms: Callable | None) -> None:
        """Changes what is called with each picture."""
        self.image_transforms = _callable(image_transforms)

    def clear_image_transforms(self) -> None:
        """Gives pictures as they are."""
        self.image_transforms = None

    def __repr__(self) -> str:
        return (
            f"SinewDataset({self.repo_id!r}, {self.num_episodes} episodes, {self.num_frames} frames, "
            f"features {list(self.features)})"
        )

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_readers": {}, "_pid": -1}


def _callable(transforms: Callable | None) -> Callable | None:
    if transforms is not None and not callable(transforms):
        raise TypeError("image_transforms must be callable or None")
    return transforms
