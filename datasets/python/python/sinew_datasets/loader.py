"""Batches that threads of the native reader prepare ahead."""

from collections.abc import Callable, Iterator
from typing import Any

from . import _native
from .tensors import stack, unpack


class Loader:
    """Gives batches, or single frames, in an order that follows from seed and epoch alone.

    Made by :meth:`SinewDataset.loader`. ``len()`` is what is still to come.
    """

    def __init__(
        self,
        native: _native.Loader,
        batch_size: int | None,
        drop_last: bool,
        as_numpy: bool,
        transforms: dict[str, Callable],
    ) -> None:
        self._native = native
        self._batch_size = batch_size
        self._drop_last = drop_last
        self._as_numpy = as_numpy
        self._transforms = transforms

    def __len__(self) -> int:
        left = self._native.remaining()
        if self._batch_size is None:
            return left
        return left // self._batch_size if self._drop_last else -(-left // self._batch_size)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        if len(self) == 0:
            raise StopIteration
        size = self._batch_size
        entries = self._native.next() if size is None else self._native.next_batch(size)
        if entries is None:
            raise StopIteration
        item = unpack(entries, self._as_numpy)
        for key, transform in self._transforms.items():
            if size is None:
                item[key] = transform(item[key])
            else:
                item[key] = stack([transform(picture) for picture in item[key]], self._as_numpy)
        return item
