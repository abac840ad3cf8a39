"""MappedArray: numbers in a memory map travel by the name of their file, not by their bytes.

Pickling would read the whole file into memory, once for the caller and once for every child.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from batchlab.workload.file_region import FileRegion, file_region

_Reduced = tuple[Any, tuple[Any, ...]]


def reduced_map(value: object) -> _Reduced | None:
    """How to open a map again elsewhere; None: it is none, or not all of it is in its file.

    Args:
        value: any object; a NumPy map, a part of one, or a tensor over one.
    """
    region = file_region(value)
    if region is None:
        return None
    if isinstance(value, Tensor):
        if value.requires_grad:
            return None
        return _opened_tensor, (region, value.dtype, tuple(value.shape), tuple(value.stride()))
    assert isinstance(value, np.ndarray)
    return _opened, (region, value.dtype, value.shape, value.strides)


def _opened(
    region: FileRegion, dtype: np.dtype[Any], shape: tuple[int, ...], strides: tuple[int, ...]
) -> Any:
    if np.empty((0, *shape[1:]), dtype).strides == strides:
        return np.memmap(region.path, dtype=dtype, mode="c", offset=region.offset, shape=shape)
    return np.ndarray(shape, dtype, buffer=_bytes_of(region), strides=strides)


def _opened_tensor(
    region: FileRegion, dtype: torch.dtype, shape: tuple[int, ...], strides: tuple[int, ...]
) -> Tensor:
    numbers = torch.from_numpy(_bytes_of(region)).view(dtype)
    return numbers.as_strided(shape, strides)


def _bytes_of(region: FileRegion) -> Any:
    # Copy on write: what a user's own code writes stays in its process, as it does with tensors.
    return np.memmap(
        region.path, dtype=np.uint8, mode="c", offset=region.offset, shape=(region.n_bytes,)
    )
