"""Fingerprint: what stands for the bytes of a file where a workload is told from another.

A file of up to 64 MiB counts whole. Of a larger one 512 evenly spaced blocks of 64 KiB count, its
size, and when it was last written to: reading all of it would take longer than many trainings.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from batchlab.workload.file_region import FileRegion, file_region

_WHOLE_BYTES = 64 * 1024**2
_BLOCK_BYTES = 64 * 1024
_BLOCKS = 512
# Of a Dataset that keeps the names of many files, its examples tell enough.
_MOST_FILES = 32
_LONGEST_NAME = 1024


def add_region(digest: Any, region: FileRegion) -> None:
    """Update a hash with what stands for a part of a file.

    Raises:
        OSError: the file cannot be read.
    """
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


def files_of(dataset: object) -> tuple[FileRegion, ...]:
    """The maps and the names of files that a Dataset keeps, also in Datasets inside it."""
    found: list[FileRegion] = []
    for value in _kept(dataset, depth=0):
        region = _named_file(value) if isinstance(value, (str, Path)) else file_region(value)
        if region is not None and region not in found:
            found.append(region)
        if len(found) == _MOST_FILES:
            break
    return tuple(found)


def _kept(value: object, depth: int) -> Iterator[Any]:
    """Maps and texts among what a Dataset keeps, in containers that are short."""
    if isinstance(value, (str, Path, np.ndarray, Tensor)):
        yield value
        return
    parts: Iterable[object] = ()
    if depth == 0 or isinstance(value, Dataset):
        parts = getattr(value, "__dict__", {}).values()
    elif isinstance(value, Mapping):
        parts = value.values()
    elif isinstance(value, (tuple, list)):
        parts = value
    if depth < 4 and (depth == 0 or isinstance(value, Dataset) or len(parts) <= _MOST_FILES):  # type: ignore[arg-type]
        for part in parts:
            yield from _kept(part, depth + 1)


def _named_file(name: str | Path) -> FileRegion | None:
    if isinstance(name, str) and (len(name) > _LONGEST_NAME or "\0" in name or not name):
        return None
    try:
        path = Path(name)
        if not path.is_file():
            return None
        return FileRegion(path=str(path), offset=0, n_bytes=path.stat().st_size)
    except OSError:
        return None
