"""Data: tensors, arrays, columns, Datasets and loaders, asked for chosen examples."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    Subset,
    default_collate,
)

from batchlab.errors import WorkloadError
from batchlab.workload.definition import (
    SPLITS,
    VALIDATION_EVERY,
    Batch,
    Data,
    Workload,
    loader_batch_size,
)
from batchlab.workload.file_region import file_region
from batchlab.workload.stream import examples_of, is_stream

_OF_PYTORCH = 1  # batch size of a DataLoader that was told none


@dataclass(frozen=True, kw_only=True, slots=True)
class Collated:
    """A data set with a collate of its own, which is not that of the training set.

    Attributes:
        dataset: where the examples come from.
        collate: list of examples -> batch; None: PyTorch's default.
    """

    dataset: Any
    collate: Callable[[list[Any]], Batch] | None

    def __len__(self) -> int:
        """The number of examples."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        """One example."""
        return self.dataset[index]


def with_data_as_read(workload: Workload) -> tuple[Workload, tuple[str, ...]]:
    """`workload` with its data as trainings read them, and what of its DataLoaders is not taken.

    Of a DataLoader its data set is taken. NumPy arrays become tensors over the same memory, but for
    those that run backwards or have foreign bytes; what is mapped from a file stays there; nested
    ones become columns. A column data set gives tensors where it would give Python's numbers,
    unless the user has chosen a format, or a `collate` takes the examples as they are.

    Raises:
        WorkloadError: a loader chooses or collates examples in a way that cannot be taken over; an
            array of doubles, of large unsigned integers, or of what is no number; parts of
            different lengths.
    """
    notes: list[str] = []
    if isinstance(workload.train, DataLoader):
        workload = _with_train(workload, workload.train, notes)
    read = {split: _as_read(workload, split, notes) for split in SPLITS}
    return replace(workload, **read), tuple(notes)


def _as_read(workload: Workload, split: str, notes: list[str]) -> Any:
    data = getattr(workload, split)
    if isinstance(data, DataLoader):
        data = _taken(workload, split, data, notes)
    if workload.collate is None and _gives_numbers(data):
        return data.with_format("torch")
    return _arranged(data, workload, split) if isinstance(data, (tuple, Mapping)) else data


def _with_train(workload: Workload, loader: DataLoader[Any], notes: list[str]) -> Workload:
    """The workload with the collate and the workers of its training loader."""
    _note_batch_size(workload, loader, notes)
    collate = _collate_of(loader)
    if workload.collate is not None and collate not in (None, workload.collate):
        raise WorkloadError(
            f"workload {workload.name!r}: train is a DataLoader with a collate_fn, and collate is "
            f"another function; give one of the two"
        )
    workers = workload.workers or loader.num_workers
    if is_stream(loader.dataset):
        workers = workload.workers
        if loader.num_workers:
            notes.append(
                f"train is an IterableDataset, which the training itself reads in its order: the "
                f"DataLoader's {loader.num_workers} workers are not taken"
            )
    return replace(
        workload,
        collate=workload.collate or collate,
        workers=workers,
        batch_size=_own_batch_size(workload, loader),
    )


def _own_batch_size(workload: Workload, loader: DataLoader[Any]) -> int:
    """The workload's batch size; of a loader that makes one smaller batch of all, that of all."""
    data: Any = loader.dataset
    if workload.batch_size != loader_batch_size(loader) or not hasattr(data, "__len__"):
        return workload.batch_size
    n_train = len(data)
    if isinstance(workload.validation, str):
        n_train -= n_train // VALIDATION_EVERY
    return max(1, min(workload.batch_size, n_train))


def _note_batch_size(workload: Workload, loader: DataLoader[Any], notes: list[str]) -> None:
    """Say which batch size counts as the user's own, where the loader leaves that in doubt."""
    own, of_loader = workload.batch_size, loader_batch_size(loader)
    if of_loader == own == _OF_PYTORCH:
        notes.append(
            "the DataLoader of train makes batches of 1, which is PyTorch's default, and 1 is "
            "taken as your batch size; if you train with another, give batch_size=..."
        )
    elif of_loader not in (None, own, _OF_PYTORCH):
        notes.append(
            f"batch_size={own} is taken as yours, and the DataLoader of train makes batches of "
            f"{of_loader}; if that is yours, leave batch_size out"
        )


def _taken(workload: Workload, split: str, loader: DataLoader[Any], notes: list[str]) -> Any:
    what = f"workload {workload.name!r}: {split} is a DataLoader"
    _check_choice(split, loader, what)
    if loader.worker_init_fn is not None:
        notes.append(
            f"worker_init_fn of the DataLoader of {split} is not called: the random numbers of "
            f"each step are seeded anyway"
        )
    if split == "train" and loader.drop_last:
        notes.append(
            "drop_last of the DataLoader of train is not taken: the option --drop-last leaves out "
            "a smaller last batch"
        )
    collate = _collate_of(loader)
    if split == "train" or collate == workload.collate:  # the workload's own holds for train
        return loader.dataset
    return Collated(dataset=loader.dataset, collate=collate)


def _collate_of(loader: DataLoader[Any]) -> Callable[[list[Any]], Batch] | None:
    return None if loader.collate_fn is default_collate else loader.collate_fn


def _check_choice(split: str, loader: DataLoader[Any], what: str) -> None:
    """Refuse a loader that chooses its examples otherwise than one after the other or shuffled."""
    if loader.batch_size is None and loader.batch_sampler is None:
        raise WorkloadError(
            f"{what} with batch_size=None, whose data set makes batches itself; give a data set "
            f"of single examples, so that other batch sizes can be tried"
        )
    if is_stream(loader.dataset):
        return
    sampler: Any = loader.sampler
    if type(loader.batch_sampler) is not BatchSampler:
        _refuse_sampler(split, loader.batch_sampler, what)
    is_plain = type(sampler) is SequentialSampler or (
        type(sampler) is RandomSampler
        and not sampler.replacement
        and sampler.num_samples == len(loader.dataset)  # type: ignore[arg-type]
    )
    if not is_plain:
        _refuse_sampler(split, sampler, what)


def _refuse_sampler(split: str, sampler: object, what: str) -> NoReturn:
    to_do = f"give {split}=loader.dataset, or a Subset of it"
    if split == "train":
        to_do = (
            "give train=loader.dataset and make_sampler=lambda batch_size, seed: ..., which makes "
            "a sampler for each batch size"
        )
    raise WorkloadError(f"{what} with a {type(sampler).__name__} of its own; {to_do}")


def _gives_numbers(data: Any) -> bool:
    given: Any = getattr(data, "format", None)
    if not (isinstance(given, Mapping) and callable(getattr(data, "with_format", None))):
        return False
    return given.get("type", "") is None


def is_container(value: object) -> bool:
    """Whether a value is a tuple, list or mapping, and does not move itself to a device."""
    return isinstance(value, (Mapping, tuple, list)) and not callable(getattr(value, "to", None))


def filled(container: Any, function: Callable[[Any], Any]) -> Any:
    """The same kind of container with `function` of each part."""
    if isinstance(container, Mapping):
        return {key: function(part) for key, part in container.items()}
    if isinstance(container, tuple) and hasattr(container, "_fields"):
        return type(container)(*(function(part) for part in container))
    return type(container)(function(part) for part in container)


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """What is in the containers, in their order, each with its place: `["x"][0]`."""
    if not is_container(value):
        yield place, value
        return
    parts = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, part in parts:
        yield from leaves(part, f"{place}[{key!r}]")


def with_leaves(value: Any, new: Iterator[Any]) -> Any:
    """The same containers around other leaves, taken in their order."""
    if not is_container(value):
        return next(new)
    return filled(value, lambda part: with_leaves(part, new))


Part = Any  # a Tensor, or a NumPy array that is read row by row


class Columns:
    """Tensors and arrays with examples first, in tuples, lists and mappings.

    A batch of it has the same containers, with tensors of the chosen examples.
    """

    def __init__(self, held: Any) -> None:
        """Hold the parts as they are; nothing is read."""
        self._held = held
        self.parts: tuple[Part, ...] = tuple(part for _, part in leaves(held))

    def __len__(self) -> int:
        """The number of examples."""
        return len(self.parts[0])

    def __getitem__(self, index: int) -> Any:
        """One example, as a `collate` of the user's own takes it."""
        return self.filled([_row(part, index) for part in self.parts])

    @property
    def is_resident(self) -> bool:
        """Whether all of it is tensors in memory, to be kept on the device."""
        return all(isinstance(part, Tensor) for part in self.parts)

    def filled(self, parts: Sequence[Any]) -> Any:
        """The containers around other parts: those of a batch."""
        return with_leaves(self._held, iter(parts))

    def with_parts(self, function: Callable[[Part], Part]) -> Columns:
        """The same columns with `function` of each part."""
        return Columns(self.filled([function(part) for part in self.parts]))

    def batch(self, chosen: Tensor) -> Any:
        """The chosen examples, copied out of the parts."""
        return self.filled([_rows(part, chosen) for part in self.parts])


def resident_tensors(data: Any) -> tuple[Tensor, ...] | None:
    """The tensors of data that are kept whole in memory; None: they are not."""
    if isinstance(data, tuple):
        return data
    if isinstance(data, Columns) and data.is_resident:
        return data.parts
    return None


def _rows(part: Part, chosen: Tensor) -> Any:
    if isinstance(part, Tensor):
        return part.index_select(0, chosen.to(part.device))
    return _as_tensor(np.asarray(part[chosen.cpu().numpy()]))


def _row(part: Part, index: int) -> Any:
    if isinstance(part, Tensor):
        return part[index]
    if part.dtype.kind in "OUS":
        return part[index]
    return _as_tensor(np.array(part[index]))


def _as_tensor(rows: np.ndarray[Any, Any]) -> Tensor:
    if not rows.dtype.isnative:
        rows = rows.astype(rows.dtype.newbyteorder("="))
    return shared_tensor(rows)


def shared_tensor(array: np.ndarray[Any, Any]) -> Tensor:
    """A tensor over the memory of an array, which may be one for reading only."""
    with warnings.catch_warnings():
        # Nothing is written to it: trainings read copies of their own.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


_NUMPY_HAS = {
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
    torch.float16, torch.float32, torch.float64,
}  # fmt: skip


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


Collate = Callable[[list[Any]], Batch]


class ChosenPart(Subset[Any]):
    """Some examples of other data, by their indices in it, which are kept as a tensor.

    A list of them, as PyTorch's own has, would take 40 bytes for each and process.
    """

    def __init__(self, dataset: Any, indices: Tensor) -> None:
        """Hold both as they are; `indices` are int64, shape (n,)."""
        self.dataset = dataset
        self.indices: Any = indices

    def __getitem__(self, index: Any) -> Any:
        """One example of the other data."""
        return self.dataset[int(self.indices[index])]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """Several examples of the other data."""
        chosen = self.indices[torch.as_tensor(indices)].tolist()
        return examples_at(self.dataset, chosen)


def shuffled(n: int, *, seed: int) -> Tensor:
    """A random order of `n` examples, int64, shape (n,)."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))


def chosen_part(data: Data, chosen: Tensor) -> Data:
    """Some examples of a split that is no stream, of the same kind; copied if they are tensors."""
    if resident_tensors(data) is None:
        return ChosenPart(data, chosen)
    if isinstance(data, tuple):
        return tuple(part[chosen.to(part.device)] for part in data)
    assert isinstance(data, Columns)
    return data.with_parts(lambda part: part[chosen.to(part.device)])


def fetched(data: Data, chosen: Tensor, collate: Collate | None) -> Batch:
    """The chosen examples as one batch, where the data are."""
    return fetched_in_parts(data, chosen, collate, most=len(chosen))[0]


def fetched_in_parts(
    data: Data, chosen: Tensor, collate: Collate | None, *, most: int
) -> tuple[Batch, ...]:
    """The chosen examples in batches of `most`, the last with what is left."""
    if isinstance(data, tuple):
        data, collate = Columns(data), None
    if isinstance(data, Collated):
        data, collate = data.dataset, data.collate
    if collate is None:
        while isinstance(data, ChosenPart):
            data, chosen = data.dataset, data.indices[chosen]
        if isinstance(data, Columns):
            return tuple(map(data.batch, chosen.split(most)))
    examples = examples_at(data, chosen.tolist())
    together = collate or default_collate
    return tuple(together(examples[at : at + most]) for at in range(0, len(examples), most))


def examples_at(data: Any, chosen: list[int]) -> list[Any]:
    """The examples one by one, or all at once where the data offer that."""
    if is_stream(data):
        return examples_of(data, chosen)
    together = getattr(data, "__getitems__", None)
    if callable(together):
        return list(together(chosen))
    return [data[index] for index in chosen]
