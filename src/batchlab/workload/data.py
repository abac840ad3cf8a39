"""Data of a training: tensors in memory, data sets read by index, and streams read in order."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data import IterableDataset, Subset, default_collate

from batchlab.errors import BatchSizeError, WorkloadError
from batchlab.random_state import RandomState, derived_seed, untouched_randomness
from batchlab.records.trial import Sampling
from batchlab.workload.definition import Batch, Data
from batchlab.workload.source import told

Collate = Callable[[list[Any]], Batch]


def is_container(value: object) -> bool:
    """Return whether a value is a tuple, list or mapping and has no `to` method."""
    return isinstance(value, (Mapping, tuple, list)) and not callable(getattr(value, "to", None))


def mapped(value: Any, function: Callable[[Any], Any]) -> Any:
    """Apply `function` to each item of nested containers; return new containers of the results."""
    if not is_container(value):
        return function(value)
    if isinstance(value, Mapping):
        return {key: mapped(inner, function) for key, inner in value.items()}
    values = [mapped(inner, function) for inner in value]
    if hasattr(value, "_fields"):
        return type(value)(*values)
    return type(value)(values)


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, item) for each item of nested containers; a path looks like `['x'][0]`."""
    if not is_container(value):
        yield place, value
        return
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, inner in items:
        yield from leaves(inner, f"{place}[{key!r}]")


class Columns:
    """Tensors and arrays in nested containers; each tensor or array has one row per example.

    A batch has the same nested containers, with tensors of the chosen examples.

    Attributes:
        parts: all tensors and arrays in the containers, in the order of the containers.
    """

    def __init__(self, held: Any) -> None:
        """Store the tensors and arrays without copying or reading them."""
        self._held = held
        self.parts: tuple[Any, ...] = tuple(column for _, column in leaves(held))
        self._is_tuple = type(held) is tuple and not any(map(is_container, held))

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.parts[0])

    def __getitem__(self, index: int) -> Any:
        """Return one example, in containers nested like those of the data."""
        return self.filled([_row(column, index) for column in self.parts])

    def filled(self, parts: Sequence[Any]) -> Any:
        """Return the nested containers with the items replaced by `parts`, in the same order."""
        if self._is_tuple:
            return tuple(parts)
        coming = iter(parts)
        return mapped(self._held, lambda _: next(coming))

    def batch(self, chosen: Tensor) -> Any:
        """Return a copy of the examples at the indices `chosen`, in containers like the data's."""
        return self.filled([_rows(column, chosen) for column in self.parts])


def resident(data: Data) -> Columns | None:
    """Return `data` as `Columns` if they consist only of tensors in memory, else None."""
    if isinstance(data, tuple):
        return Columns(data)
    if isinstance(data, Columns) and all(isinstance(column, Tensor) for column in data.parts):
        return data
    return None


def _rows(part: Any, chosen: Tensor) -> Any:
    if isinstance(part, Tensor):
        return part.index_select(0, chosen.to(part.device))
    return _as_tensor(np.asarray(part[chosen.cpu().numpy()]))


def _row(part: Any, index: int) -> Any:
    if isinstance(part, Tensor) or part.dtype.kind in "OUS":
        return part[index]
    return _as_tensor(np.array(part[index]))


def _as_tensor(rows: np.ndarray[Any, Any]) -> Tensor:
    if not rows.dtype.isnative:
        rows = rows.astype(rows.dtype.newbyteorder("="))
    return shared_tensor(rows)


def shared_tensor(array: np.ndarray[Any, Any]) -> Tensor:
    """Return a tensor that shares the memory of an array; the array may be read-only."""
    with warnings.catch_warnings():
        # Ignore PyTorch's warning: trainings copy rows out of the array and never write to it.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


@dataclass(frozen=True, kw_only=True, slots=True)
class Collated:
    """A validation or test set with a collate function other than the training set's."""

    dataset: Any  # The data set whose examples are collated.
    collate: Collate | None  # The collate function, or None for PyTorch's default.

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        """Return one example."""
        return self.dataset[index]


def opened(data: Data, collate: Collate | None) -> tuple[Data, Collate | None]:
    """Return (data set, collate) of a `Collated`, or (`data`, `collate`) for other data."""
    if isinstance(data, Collated):
        return data.dataset, data.collate
    return data, collate


class ChosenPart(Subset[Any]):
    """A subset of a data set, chosen by a tensor of indices.

    PyTorch's `Subset` has a list of indices, which takes 40 bytes per index in each process.
    """

    def __init__(self, dataset: Any, indices: Tensor) -> None:
        """Store the data set and the examples' `indices` (int64, shape (n,)) without a copy."""
        self.dataset = dataset
        self.indices: Any = indices

    def __getitem__(self, index: Any) -> Any:
        """Return the example at position `index` of the subset."""
        return self.dataset[int(self.indices[index])]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """Return the examples at several positions of the subset."""
        chosen = self.indices[torch.as_tensor(indices)].tolist()
        return examples_at(self.dataset, chosen)


def chosen_part(data: Data, chosen: Tensor) -> Data:
    """Return the examples of `data` (not a stream) at indices `chosen`; tensors are copied."""
    columns = resident(data)
    if columns is None:
        return ChosenPart(data, chosen)
    chosen_rows = columns.filled([rows[chosen.to(rows.device)] for rows in columns.parts])
    if isinstance(data, tuple):
        return chosen_rows
    return Columns(chosen_rows)


def shuffled(n: int, *, seed: int) -> Tensor:
    """Return the indices of `n` examples in random order, int64, shape (n,)."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))


def epoch_order(n_train: int, *, seed: int, epoch: int, sampling: Sampling) -> Tensor:
    """Return the indices of an epoch's examples in training order, the same at any batch size.

    The order depends only on the arguments, so a run that is resumed in the middle of an epoch
    continues with the same examples as without the interruption.
    """
    own_seed = derived_seed("order", seed, epoch)
    if sampling == "reshuffle":
        return shuffled(n_train, seed=own_seed)
    return torch.randint(n_train, (n_train,), generator=torch.Generator().manual_seed(own_seed))


def n_examples(batch: Batch) -> int:
    """Return the number of examples in a batch: the length of its first tensor or packed sequence.

    If this is not the number of examples, the workload needs a `weight`: without a `weight`, a
    check before the study refuses the workload.

    Raises:
        BatchSizeError: the batch contains neither a tensor with a dimension nor a packed sequence.
    """
    n = next(_lengths(batch), None)
    if n is None:
        raise BatchSizeError(
            f"a batch of type {type(batch).__name__} holds no tensor to count its examples by; let "
            f"`collate` return tensors, or a tuple, list or dict of them, with examples first, or "
            f"give the workload a `weight`"
        )
    return n


def _lengths(batch: Batch) -> Iterator[int]:
    if isinstance(batch, PackedSequence):  # its first time step contains every example
        yield int(batch.batch_sizes[0])
    elif isinstance(batch, Tensor):
        if batch.ndim:
            yield len(batch)
    elif isinstance(batch, Mapping):
        for value in batch.values():
            yield from _lengths(value)
    elif isinstance(batch, (tuple, list)):
        for value in batch:
            yield from _lengths(value)


def fetched(data: Data, chosen: Tensor, collate: Collate | None) -> Batch:
    """Return the examples at indices `chosen` as one batch, on the device of the data."""
    return fetched_in_parts(data, chosen, collate, most=len(chosen))[0]


def fetched_in_parts(
    data: Data, chosen: Tensor, collate: Collate | None, *, most: int
) -> tuple[Batch, ...]:
    """Return the examples at indices `chosen` in batches of `most`; the last may be smaller."""
    if isinstance(data, tuple):
        data, collate = Columns(data), None
    data, collate = opened(data, collate)
    if collate is None:
        while isinstance(data, ChosenPart):
            data, chosen = data.dataset, data.indices[chosen]
        if isinstance(data, Columns):
            return tuple(map(data.batch, chosen.split(most)))
    return collated(examples_at(data, chosen.tolist()), collate, most=most)


def collated(examples: list[Any], collate: Collate | None, *, most: int) -> tuple[Batch, ...]:
    """Collate examples into batches of `most` examples; the last batch may be smaller."""
    together = collate or default_collate
    return tuple(together(examples[at : at + most]) for at in range(0, len(examples), most))


def examples_at(data: Any, chosen: list[int]) -> list[Any]:
    """Return the examples at indices `chosen`, in one call if the data have `__getitems__`.

    A stream is read from the start of its first epoch up to the largest index.
    """
    if is_stream(data):
        reading = StreamPass(data, epoch=0, seed=0, what="train")
        examples = reading.take(max(chosen, default=-1) + 1)
        return [examples[place] for place in chosen]
    together = getattr(data, "__getitems__", None)
    if callable(together):
        return list(together(chosen))
    return [data[index] for index in chosen]


def is_stream(data: object) -> bool:
    """Return whether data can only be read in order from the first example, not by index."""
    if isinstance(data, IterableDataset):
        return True
    return hasattr(data, "__iter__") and not hasattr(data, "__getitem__")


# To skip examples, a stream is read in portions of this size: each read also saves the random
# states, so a few large reads are faster than many small reads.
_READ_AT_ONCE = 1000


class StreamPass:
    """One epoch of a stream; reading it does not change the random state of the process."""

    def __init__(self, data: Any, *, epoch: int, seed: int, what: str) -> None:
        """Copy `data`, call the copy's `set_epoch(epoch)` if it exists, and start reading."""
        self._what = what
        self._n = len(data)
        self._taken = 0
        data = copy.copy(data)  # a copy, because `set_epoch` must not change other passes
        with untouched_randomness(seed):
            if callable(getattr(data, "set_epoch", None)):
                data.set_epoch(epoch)
            self._examples: Iterator[Any] = iter(data)
            self._randomness = RandomState.now()

    def take(self, n: int) -> list[Any]:
        """Return the next `n` examples; refuse a stream that has fewer examples left."""
        examples = self._next(n)
        self._taken += len(examples)
        if len(examples) < n:
            raise WorkloadError(
                f"{self._what} ended after {self._taken:,} examples, and its length says "
                f"{self._n:,}; let __len__ return how many it gives"
            )
        return examples

    def skip(self, n: int) -> None:
        """Read the next `n` examples without returning them."""
        while n > 0:
            n -= len(self.take(min(n, _READ_AT_ONCE)))

    def check_end(self) -> None:
        """Read the remaining examples; refuse a stream that has more examples than its length."""
        self.skip(self._n - self._taken)
        if self._next(1):
            raise WorkloadError(
                f"{self._what} goes on after the {self._n:,} examples that its length says; let "
                f"__len__ return how many it gives, or let it stop there"
            )

    def _next(self, n: int) -> list[Any]:
        with untouched_randomness():
            self._randomness.restore()
            try:
                examples = list(islice(self._examples, n))
            except Exception as error:
                raise WorkloadError(
                    f"{self._what}: reading on after {self._taken:,} examples raised {told(error)}"
                ) from error
            self._randomness = RandomState.now()
        return examples
