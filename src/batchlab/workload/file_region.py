"""The position of a memory map's numbers in a file, and hashes of parts of files."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class FileRegion:
    """A range of bytes in a file, such as the numbers of a memory-mapped array."""

    path: str  # The path of the file.
    offset: int  # The number of bytes in the file before the range.
    n_bytes: int  # The number of bytes in the range.


def file_region(value: object) -> FileRegion | None:
    """Return the region of the file that a memory-mapped array covers; None for other values."""
    if not isinstance(value, np.ndarray) or not value.size or min(value.strides, default=0) < 0:
        return None
    owner: Any = value
    while isinstance(owner, np.ndarray) and not isinstance(owner, np.memmap):
        owner = owner.base
    mapped = getattr(owner, "_mmap", None)
    if mapped is None or owner.mode == "c" or not Path(owner.filename or "").is_file():
        return None
    first_byte = np.frombuffer(mapped, dtype=np.uint8).__array_interface__["data"][0]
    map_begins = owner.offset - owner.offset % mmap.ALLOCATIONGRANULARITY
    offset = map_begins + value.__array_interface__["data"][0] - first_byte
    last = np.dot(np.array(value.shape) - 1, value.strides)  # bytes before the last number
    return FileRegion(path=str(owner.filename), offset=offset, n_bytes=int(last) + value.itemsize)


_WHOLE_BYTES = 64 * 1024**2  # Regions up to this size are hashed completely.
_BLOCK_BYTES = 64 * 1024  # Files are read and hashed in blocks of this size.
_BLOCKS = 512  # Of larger regions, only this many evenly spaced blocks are hashed.


def add_region(digest: Any, region: FileRegion) -> None:
    """Add a file region to a hash: all bytes or, above 64 MiB, some blocks, file size and time."""
    with Path(region.path).open("rb", buffering=0) as file:
        if region.n_bytes <= _WHOLE_BYTES:
            starts: Iterable[int] = range(0, region.n_bytes, _BLOCK_BYTES)
        else:
            facts = os.fstat(file.fileno())
            digest.update(f"{facts.st_size} {facts.st_mtime_ns}".encode())
            starts = np.linspace(0, region.n_bytes - _BLOCK_BYTES, _BLOCKS, dtype=np.int64).tolist()
        for start in starts:
            n = min(_BLOCK_BYTES, region.n_bytes - start)
            digest.update(os.pread(file.fileno(), n, region.offset + start))
