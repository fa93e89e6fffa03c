"""Native buffers as tensors of PyTorch, or as numpy arrays where there is no PyTorch."""

import json
from typing import Any

import numpy

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]


def _of_torch(buffer: Any, dtype: str, shape: list[int]) -> Any:
    return torch.frombuffer(buffer, dtype=getattr(torch, dtype)).view(shape)


def _of_numpy(buffer: Any, dtype: str, shape: list[int]) -> Any:
    return numpy.frombuffer(buffer, dtype=dtype).reshape(shape)


def unpack(entries: list, as_numpy: bool) -> dict[str, Any]:
    """The entries of one frame or one batch as a dictionary. Tensors share the buffers' memory."""
    tensor = _of_numpy if as_numpy or torch is None else _of_torch
    item = {}
    for name, dtype, shape, payload in entries:
        if dtype == "text":
            item[name] = payload if shape else payload[0]
        elif dtype == "json":
            values = [json.loads(text) for text in payload]
            item[name] = values if shape else values[0]
        else:
            item[name] = tensor(payload, dtype, shape)
    return item


def stack(values: list, as_numpy: bool) -> Any:
    """Puts tensors of one shape into one."""
    return numpy.stack(values) if as_numpy or torch is None else torch.stack(values)


def in_worker() -> bool:
    """Whether this is a worker process of a DataLoader."""
    return torch is not None and torch.utils.data.get_worker_info() is not None
