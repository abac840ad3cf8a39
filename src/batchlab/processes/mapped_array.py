"""MappedArray: a memory-mapped NumPy array travels by the name of its file, not by its bytes.

Pickling would read the whole file into memory, once for the caller and once for every child.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any, Literal

import numpy as np

_Reduced = tuple[Any, tuple[Any, ...]]


def reduced_map(array: object) -> _Reduced | None:
    """How to open a map again elsewhere; None: it is none, or not all of it is in its file.

    Args:
        array: any object; a map of a whole file, or a part of one that lies in one piece.
    """
    if not isinstance(array, np.memmap) or array.filename is None:
        return None
    mapped = getattr(array, "_mmap", None)
    # What was written to a copy-on-write map ("c") is in this process only.
    if mapped is None or array.mode == "c" or not array.size or not Path(array.filename).exists():
        return None
    order: Literal["C", "F"] = "C" if array.flags.c_contiguous else "F"
    if order == "F" and not array.flags.f_contiguous:
        return None
    first_byte = np.frombuffer(mapped, dtype=np.uint8).__array_interface__["data"][0]
    map_begins = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY
    offset = map_begins + array.__array_interface__["data"][0] - first_byte
    return _opened, (str(array.filename), array.dtype, offset, array.shape, order)


def _opened(
    path: str, dtype: np.dtype[Any], offset: int, shape: tuple[int, ...], order: Literal["C", "F"]
) -> Any:
    # Copy on write: what a user's own code writes stays in its process, as it does with tensors.
    return np.memmap(path, dtype=dtype, mode="c", offset=offset, shape=shape, order=order)
