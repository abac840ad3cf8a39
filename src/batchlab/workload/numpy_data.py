"""NumpyData: a workload's NumPy arrays as tensors, where nothing is changed by that."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from batchlab.errors import WorkloadError
from batchlab.workload.definition import Workload

_SPLITS = ("train", "validation", "test")


def with_tensors(workload: Workload) -> Workload:
    """`workload` with tensors for the NumPy arrays in its data.

    They share their memory, but for arrays that run backwards or have foreign bytes.

    Raises:
        WorkloadError: an array of doubles, of large unsigned integers, or of what is no number;
            the line to write is shown.
    """
    found = {split: getattr(workload, split) for split in _SPLITS}
    changed: dict[str, Any] = {
        split: tuple(_tensor(part, f"workload {workload.name!r}: {split}") for part in data)
        for split, data in found.items()
        if isinstance(data, tuple) and any(isinstance(part, np.ndarray) for part in data)
    }
    return replace(workload, **changed) if changed else workload


def _tensor(part: Any, what: str) -> Any:
    if not isinstance(part, np.ndarray):
        return part
    if part.dtype.kind == "f" and part.dtype.itemsize >= np.dtype(np.float64).itemsize:
        # NumPy's default and no model's: cast in silence, a model of doubles would lose digits.
        raise WorkloadError(
            f"{what} holds a NumPy array of {part.dtype.name}, and models are float32: give "
            f'x.astype("float32"), or torch.from_numpy(x) for a model of doubles'
        )
    if part.dtype.kind not in "buif":
        raise WorkloadError(
            f"{what} holds a NumPy array of {part.dtype}; expected numbers: turn words into "
            f"numbers first"
        )
    if part.dtype.kind == "u" and part.dtype.itemsize > 1:
        raise WorkloadError(
            f"{what} holds a NumPy array of {part.dtype.name}, which PyTorch hardly computes with: "
            f'give x.astype("int64")'
        )
    # As it lies there: two parts of one array stay the same memory, which a split is checked for.
    is_as_torch_has_it = part.dtype.isnative and all(
        stride >= 0 and stride % part.itemsize == 0 for stride in part.strides
    )
    if is_as_torch_has_it:
        return _shared(part)
    return _shared(np.ascontiguousarray(part, dtype=part.dtype.newbyteorder("=")))


def _shared(array: np.ndarray[Any, Any]) -> Tensor:
    with warnings.catch_warnings():
        # Nothing is written to it: trainings read copies of their own.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)
