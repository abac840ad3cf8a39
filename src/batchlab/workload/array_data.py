"""ArrayData: tensors and NumPy arrays in any containers, as the trainings read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from batchlab.errors import WorkloadError
from batchlab.workload.columns import Columns, shared_tensor
from batchlab.workload.containers import is_container, leaves, with_leaves
from batchlab.workload.definition import Workload
from batchlab.workload.file_region import file_region

_NUMPY_HAS = {
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
    torch.float16, torch.float32, torch.float64,
}  # fmt: skip
_SPLITS = ("train", "validation", "test")


def with_tensors(workload: Workload) -> Workload:
    """`workload` with tensors for the NumPy arrays in its data, and columns where they are nested.

    They share their memory, but for arrays that run backwards or have foreign bytes. What is mapped
    from a file stays there.

    Raises:
        WorkloadError: an array of doubles, of large unsigned integers, or of what is no number;
            parts of different lengths; the line to write is shown.
    """
    found = {split: getattr(workload, split) for split in _SPLITS}
    changed: dict[str, Any] = {
        split: _arranged(data, workload, split)
        for split, data in found.items()
        if isinstance(data, (tuple, Mapping))
    }
    return replace(workload, **changed) if changed else workload


def _arranged(data: Any, workload: Workload, split: str) -> Any:
    what = f"workload {workload.name!r}: {split}"
    is_tuple = isinstance(data, tuple) and not any(is_container(part) for part in data)
    parts = [
        (place, _part(part, what if is_tuple else what + place, workload))
        for place, part in leaves(data)
    ]
    if is_tuple and all(isinstance(part, Tensor) for _, part in parts):
        return tuple(part for _, part in parts) if _holds_arrays(data) else data
    if is_tuple and not all(isinstance(part, Tensor | np.ndarray) for _, part in parts):
        return data  # who checks the splits says what it is
    _check_columns(parts, what)
    return Columns(with_leaves(data, (part for _, part in parts)))


def _holds_arrays(data: tuple[Any, ...]) -> bool:
    return any(isinstance(part, np.ndarray) for part in data)


def _check_columns(parts: list[tuple[str, Any]], what: str) -> None:
    if not parts:
        raise WorkloadError(f"{what} is empty; expected tensors or arrays with examples first")
    for place, part in parts:
        if not isinstance(part, Tensor | np.ndarray):
            raise WorkloadError(
                f"{what}{place} is of type {type(part).__name__}; expected a tensor or an array "
                f"with examples first"
            )
    lengths = {place: len(part) if part.ndim else None for place, part in parts}
    if len(set(lengths.values())) != 1 or None in lengths.values():
        told = ", ".join(f"{tuple(part.shape)} in {place}" for place, part in parts)
        raise WorkloadError(
            f"{what} holds the shapes {told}; expected the same number of examples first in each"
        )


def _part(part: Any, what: str, workload: Workload) -> Any:
    """A part as the trainings read it: a tensor, or an array that is read row by row."""
    is_mapped = file_region(part) is not None
    if isinstance(part, Tensor):
        # As an array: a tensor would be gathered, moved and split as if it were in memory.
        return part.numpy() if is_mapped and part.dtype in _NUMPY_HAS else part
    if not isinstance(part, np.ndarray):
        return part
    if part.dtype.kind in "OUS" and workload.collate is not None:
        return part  # words, which the user's own collate makes numbers of
    _check_kind(part, what, is_mapped=is_mapped)
    return part if is_mapped else _tensor(part)


def _check_kind(part: np.ndarray[Any, Any], what: str, *, is_mapped: bool) -> None:
    if part.dtype.kind == "f" and part.dtype.itemsize >= np.dtype(np.float64).itemsize:
        # NumPy's default and no model's: cast in silence, a model of doubles would lose digits.
        to_do = (
            "keep the file in float32, or give a Dataset that casts each example"
            if is_mapped
            else 'give x.astype("float32")'
        )
        raise WorkloadError(
            f"{what} holds a NumPy array of {part.dtype.name}, and models are float32: {to_do}, "
            f"or torch.from_numpy(x) for a model of doubles"
        )
    if part.dtype.kind not in "buif":
        raise WorkloadError(
            f"{what} holds a NumPy array of {part.dtype}; expected numbers: turn words into "
            f"numbers first, or give a `collate` that does"
        )
    if part.dtype.kind == "u" and part.dtype.itemsize > 1:
        raise WorkloadError(
            f"{what} holds a NumPy array of {part.dtype.name}, which PyTorch hardly computes with: "
            f'give x.astype("int64")'
        )


def _tensor(part: np.ndarray[Any, Any]) -> Tensor:
    # As it lies there: two parts of one array stay the same memory, which a split is checked for.
    is_as_torch_has_it = part.dtype.isnative and all(
        stride >= 0 and stride % part.itemsize == 0 for stride in part.strides
    )
    if is_as_torch_has_it:
        return shared_tensor(part)
    return shared_tensor(np.ascontiguousarray(part, dtype=part.dtype.newbyteorder("=")))
