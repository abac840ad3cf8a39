"""Where in a file the numbers of a memory map lie, and what stands for a file's bytes."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_MAPS = Path("/proc/self/maps")
# Looking a tensor up among the maps of this process takes a millisecond.
WORTH_LOOKING_UP_BYTES = 1024**2


@dataclass(frozen=True, kw_only=True, slots=True)
class FileRegion:
    """Numbers that lie in a file."""

    path: str  # the file
    offset: int  # of the first number, in bytes
    n_bytes: int  # from the first number to the end of the last

    @classmethod
    def whole(cls, path: Path | str) -> FileRegion:
        """All of a file."""
        return cls(path=str(path), offset=0, n_bytes=Path(path).stat().st_size)


def file_region(value: object) -> FileRegion | None:
    """Where a mapped array or tensor lies in its file; None: it is in memory, or was written to."""
    if isinstance(value, Tensor):
        return _of_tensor(value)
    if isinstance(value, np.ndarray):
        return _of_array(value)
    return None


def _of_array(array: np.ndarray[Any, Any]) -> FileRegion | None:
    if not array.size or min(array.strides, default=0) < 0:
        return None
    n_bytes = _extent(array.shape, array.strides) + array.itemsize
    address = array.__array_interface__["data"][0]
    owner: Any = array
    while isinstance(owner, np.ndarray) and not isinstance(owner, np.memmap):
        owner = owner.base
    mapped = getattr(owner, "_mmap", None)
    if mapped is None:  # over a tensor, perhaps, that is over a map
        return None if owner is None else _looked_up(address, n_bytes)
    if owner.mode == "c" or owner.filename is None or not Path(owner.filename).exists():
        return None
    first_byte = np.frombuffer(mapped, dtype=np.uint8).__array_interface__["data"][0]
    map_begins = owner.offset - owner.offset % mmap.ALLOCATIONGRANULARITY
    offset = map_begins + address - first_byte
    return FileRegion(path=str(owner.filename), offset=offset, n_bytes=n_bytes)


def _of_tensor(tensor: Tensor) -> FileRegion | None:
    is_plain = tensor.device.type == "cpu" and tensor.layout == torch.strided
    if not is_plain or tensor.is_nested or not tensor.numel():
        return None
    strides = tuple(stride * tensor.element_size() for stride in tensor.stride())
    n_bytes = _extent(tuple(tensor.shape), strides) + tensor.element_size()
    return _looked_up(tensor.data_ptr(), n_bytes)


def _extent(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Bytes from the beginning of the first number to the beginning of the last."""
    return sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))


def _looked_up(address: int, n_bytes: int) -> FileRegion | None:
    """The file that shared memory at an address is a map of, where the system tells."""
    if n_bytes < WORTH_LOOKING_UP_BYTES:
        return None
    try:
        lines = _MAPS.read_text().splitlines()
    except OSError:  # it is Linux's own
        return None
    for line in lines:
        place, rights, begins, _, inode, *path = line.split(maxsplit=5)
        start, end = (int(part, 16) for part in place.split("-"))
        if not start <= address < end:
            continue
        is_whole = address + n_bytes <= end
        # Under /dev/shm lies what PyTorch shares between processes: memory with a name.
        is_named = inode != "0" and bool(path) and not path[0].startswith("/dev/shm/")
        is_file = is_named and Path(path[0]).is_file()
        if not (is_whole and is_file and rights.endswith("s")):
            return None
        return FileRegion(path=path[0], offset=int(begins, 16) + address - start, n_bytes=n_bytes)
    return None


_WHOLE_BYTES = 64 * 1024**2
_BLOCK_BYTES = 64 * 1024
_BLOCKS = 512


def add_region(digest: Any, region: FileRegion) -> None:
    """Update a hash with what stands for a part of a file."""
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
