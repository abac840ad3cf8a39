"""WorkloadSplit: training, validation and test data that can be used, and keep apart."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Subset, TensorDataset

from batchlab.errors import WorkloadError
from batchlab.workload.data import (
    ChosenPart,
    Collated,
    Columns,
    chosen_part,
    resident_tensors,
    shared_tensor,
    shuffled,
)
from batchlab.workload.definition import SPLITS, VALIDATION_EVERY, Data, Workload, size_of
from batchlab.workload.stream import is_stream

# Of 400,000 examples an accuracy is known to 0.0008 (its standard error), and evaluating more would
# take the time of the training.
_MOST_HELD = 400_000
# Of the draw of the tenth: it never changes.
_SPLIT_SEED = 20_170_308


def with_validation(workload: Workload) -> Workload:
    """`workload` with `validation="split"` carried out: a tenth of `train`, drawn by a fixed seed.

    Raises:
        WorkloadError: a split without examples, of a kind that cannot be used, or in the same
            memory as another one.
    """
    for split in SPLITS:
        data = getattr(workload, split)
        if not (split == "validation" and isinstance(data, str)):
            _check(workload.name, split, data)
    _check_apart(workload)
    if not isinstance(workload.validation, str):
        return workload
    if workload.validation != "split":
        raise WorkloadError(
            f"workload {workload.name!r}: validation={workload.validation!r}; expected data, "
            f'"split" for a tenth of the training set, or None for no validation set'
        )
    if is_stream(workload.train):
        raise WorkloadError(
            f"workload {workload.name!r}: train is read in its own order, so no tenth can be split "
            f"off for validation; give validation=..., or validation=None for none"
        )
    n = size_of(workload.train)
    if n < VALIDATION_EVERY:
        raise WorkloadError(
            f"workload {workload.name!r}: {n} training examples are too few to split a tenth off "
            f"for validation; give validation=..., or validation=None for none"
        )
    order = shuffled(n, seed=_SPLIT_SEED)
    n_held = min(n // VALIDATION_EVERY, _MOST_HELD)
    held, kept = order[:n_held].sort().values, order[n_held:].sort().values
    return replace(
        workload,
        train=chosen_part(workload.train, kept),
        validation=chosen_part(workload.train, held),
    )


def _check(name: str, split: str, data: Data) -> None:
    if data is None and split != "train":
        return
    if isinstance(data, Tensor):
        raise WorkloadError(
            f"workload {name!r}: {split} is one tensor; expected a tuple of tensors with examples "
            f"first, such as {split}=(x, y) or {split}=(x,)"
        )
    if isinstance(data, np.ndarray):
        raise WorkloadError(
            f"workload {name!r}: {split} is one NumPy array; expected a tuple of arrays or tensors "
            f"with examples first, such as {split}=(x, y) or {split}=(x,)"
        )
    if isinstance(data, list) and data and all(_is_array(part) for part in data):
        raise WorkloadError(
            f"workload {name!r}: {split} is a list of {len(data)} arrays or tensors; expected a "
            f"tuple with examples first, such as {split}=(x, y)"
        )
    if is_stream(data):
        _check_stream(name, split, data)
        return
    if isinstance(data, tuple):
        if not data or not all(isinstance(part, Tensor) for part in data):
            kinds = ", ".join(type(part).__name__ for part in data) or "nothing"
            raise WorkloadError(
                f"workload {name!r}: {split} is a tuple of {kinds}; expected tensors "
                f"or NumPy arrays of numbers"
            )
        lengths = {len(part) if part.ndim else None for part in data}
        if len(lengths) != 1 or None in lengths:
            shapes = ", ".join(str(tuple(part.shape)) for part in data)
            raise WorkloadError(
                f"workload {name!r}: the tensors of {split} have the shapes {shapes}; expected the "
                f"same number of examples first in each"
            )
        n = len(data[0])
    elif hasattr(data, "__len__") and hasattr(data, "__getitem__"):
        n = len(data)
    else:
        raise WorkloadError(
            f"workload {name!r}: {split} is a {type(data).__name__}; expected a tuple of "
            f"tensors or a map-style Dataset (with __len__ and __getitem__)"
        )
    if n == 0:
        raise WorkloadError(f"workload {name!r}: {split} holds no examples; it needs at least one")


def _check_stream(name: str, split: str, data: Any) -> None:
    kind = type(data).__name__
    if not hasattr(data, "__len__"):
        raise WorkloadError(
            f"workload {name!r}: {split} is of type {kind} without a length, and an epoch needs "
            f"one; give it a __len__ that returns how many examples it gives"
        )
    if len(data) < 1:
        raise WorkloadError(f"workload {name!r}: {split} holds no examples; it needs at least one")


def _is_array(part: object) -> bool:
    return isinstance(part, Tensor | np.ndarray)


def tensors_of(data: Data | None) -> tuple[Tensor, ...]:
    """The tensors of a split, examples first; none for data that are read or made one by one."""
    if isinstance(data, TensorDataset):
        return data.tensors
    return resident_tensors(data) or ()


def _views_of(data: Data) -> tuple[Tensor, ...]:
    """The first part of a split as it lies in memory or in a map of a file; nothing is read."""
    if isinstance(data, Columns):
        first = data.parts[0]
        if isinstance(first, Tensor):
            return (first,)
        is_seen = first.dtype.kind in "buif" and first.dtype.isnative
        return (shared_tensor(first),) if is_seen else ()
    return tensors_of(data)


def _check_apart(workload: Workload) -> None:
    splits = {
        name: data
        for name in SPLITS
        if not isinstance(data := getattr(workload, name), str) and data is not None
    }
    for (one, data), (other, others) in combinations(splits.items(), 2):
        if _share_examples(data, others):
            raise WorkloadError(
                f"workload {workload.name!r}: {one} and {other} share storage: some of their "
                f"examples are the same memory; give {other} examples of its own"
            )


def _share_examples(one: Data, other: Data) -> bool:
    # Another collate makes no other examples.
    one, other = (data.dataset if isinstance(data, Collated) else data for data in (one, other))
    if _views_of(one) and _views_of(other):
        return _overlap_in_memory(_views_of(one)[0], _views_of(other)[0])
    if isinstance(one, ChosenPart) and isinstance(other, ChosenPart):
        return False  # of one split, made here
    if isinstance(one, Subset) and isinstance(other, Subset) and one.dataset is other.dataset:
        return not set(one.indices).isdisjoint(other.indices)
    datasets = [data.dataset if isinstance(data, Subset) else data for data in (one, other)]
    both_are_parts = isinstance(one, Subset) and isinstance(other, Subset)
    return datasets[0] is datasets[1] and not both_are_parts


def _overlap_in_memory(one: Tensor, other: Tensor) -> bool:
    """Whether an example of one lies in the same bytes as an example of the other.

    Slices of one tensor do not, be they side by side (`x[:900]`, `x[900:]`) or interleaved
    (`x[::2]`, `x[1::2]`).
    """
    strided = one.layout == other.layout == torch.strided
    if not strided or one.device != other.device or not (one.numel() and other.numel()):
        return False
    starts, ends = _example_bytes(one)
    other_starts, other_ends = _example_bytes(other)
    if starts[0] >= other_ends[-1] or other_starts[0] >= ends[-1]:
        return False
    # Of the examples that begin before one of `other` ends, the last reaches furthest.
    before = np.searchsorted(starts, other_ends, side="left")
    return bool((ends[np.maximum(before - 1, 0)] > other_starts)[before > 0].any())


def _example_bytes(tensor: Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where in memory each example begins and ends, in the order of memory."""
    shape, strides = tensor.shape, tensor.stride()
    extent = 1 + sum((n - 1) * stride for n, stride in zip(shape[1:], strides[1:], strict=True))
    starts = tensor.data_ptr() + np.arange(len(tensor), dtype=np.int64) * (
        strides[0] * tensor.element_size()
    )
    return starts, starts + extent * tensor.element_size()
