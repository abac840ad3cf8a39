"""Conversion of the user's data: DataLoaders replaced, arrays checked, validation split off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
    default_collate,
)

from batchlab.errors import UsageError, WorkloadError
from batchlab.records.trial import Sampling
from batchlab.workload.data import (
    ChosenPart,
    Collate,
    Collated,
    Columns,
    chosen_part,
    is_container,
    is_stream,
    leaves,
    mapped,
    opened,
    resident,
    shared_tensor,
    shuffled,
)
from batchlab.workload.definition import (
    SPLITS,
    VALIDATION_EVERY,
    Data,
    Workload,
    loader_batch_size,
    size_of,
)
from batchlab.workload.file_region import file_region


def with_data_as_read(workload: Workload) -> tuple[Workload, tuple[str, ...]]:
    """Return `workload` with its data converted for training, and notes for the report.

    A DataLoader is replaced by its data set. NumPy arrays become tensors that share the arrays'
    memory, or copies if torch cannot read that memory. Memory maps are not read. Nested containers
    become `Columns`. A Hugging Face data set returns tensors instead of Python numbers, unless the
    user has set a format or the workload has a `collate`.

    Raises:
        WorkloadError: a loader with a sampler of its own or a conflicting collate function; an
            array of doubles, of large unsigned integers, or of anything but numbers; arrays of
            different lengths; a split without examples or of an unsupported type; `make_sampler`
            or `workers` for a stream.
    """
    notes: list[str] = []
    if isinstance(workload.train, DataLoader):
        workload = _with_train(workload, workload.train, notes)
    read = {split: _as_read(workload, split) for split in SPLITS}
    workload = replace(workload, **read)
    for name in ("make_sampler", "workers"):
        if is_stream(workload.train) and getattr(workload, name):
            raise WorkloadError(
                f"workload {workload.name!r}: {name} is given and train is read in its own "
                f"order, by the training itself; leave {name} out"
            )
    return workload, tuple(notes)


def _as_read(workload: Workload, split: str) -> Any:
    data = getattr(workload, split)
    if (data is None and split != "train") or (isinstance(data, str) and split == "validation"):
        return data
    what = f"workload {workload.name!r}: {split}"
    if isinstance(data, DataLoader):
        data = _taken(workload, split, data)
    if isinstance(data, (tuple, Mapping)) or _is_table(data):
        data = mapped(data, _without_tables)
    chosen_format: Any = getattr(data, "format", None)
    if isinstance(chosen_format, Mapping) and callable(getattr(data, "with_format", None)):
        if chosen_format.get("type", "") is None and workload.collate is None:
            data = data.with_format("torch")
    elif isinstance(data, (tuple, Mapping)):
        data = _arranged(data, what, workload)
    _check(data, split, what)
    return data


def _is_table(data: object) -> bool:
    """Return whether data are a DataFrame or a Series, of pandas or polars."""
    return type(data).__module__.partition(".")[0] in ("pandas", "polars")


def _without_tables(data: Any) -> Any:
    """Convert a DataFrame to a dict of arrays, a Series to an array; leave other data unchanged."""
    if not _is_table(data):
        return data
    if hasattr(data, "columns"):
        return {name: _without_tables(data[name]) for name in dict.fromkeys(data.columns)}
    values = np.asarray(data)
    return values.astype(np.float32) if values.dtype.kind == "f" else values


def _with_train(workload: Workload, loader: DataLoader[Any], notes: list[str]) -> Workload:
    """Return `workload` with the collate and workers of `loader`; note the ignored options."""
    of_loader, data = loader_batch_size(loader), loader.dataset
    not_taken = {
        "batch_size": of_loader not in (None, workload.batch_size, 1),
        "drop_last": loader.drop_last,
        "num_workers": is_stream(data) and loader.num_workers > 0,
        "worker_init_fn": loader.worker_init_fn is not None,
    }
    names = [name for name, is_given in not_taken.items() if is_given]
    if names:
        notes.append(f"of train's DataLoader these are not taken: {', '.join(names)}")
    collate = _collate_of(loader)
    if workload.collate is not None and collate not in (None, workload.collate):
        raise WorkloadError(
            f"workload {workload.name!r}: train is a DataLoader with a collate_fn, and collate is "
            f"another function; give one of the two"
        )
    workers = workload.workers
    if not is_stream(data):
        workers = workers or loader.num_workers
    size = workload.batch_size
    if size == of_loader and hasattr(data, "__len__"):  # limit `size` to the number of examples
        n_train = len(data)
        if isinstance(workload.validation, str):
            n_train -= n_train // VALIDATION_EVERY
        size = max(1, min(size, n_train))
    collate = workload.collate or collate
    return replace(workload, collate=collate, workers=workers, batch_size=size)


def _taken(workload: Workload, split: str, loader: DataLoader[Any]) -> Any:
    """Return the data set of a DataLoader; refuse a sampler that is not sequential or random."""
    what = f"workload {workload.name!r}: {split} is a DataLoader"
    if loader.batch_size is None and loader.batch_sampler is None:
        raise WorkloadError(
            f"{what} with batch_size=None, whose data set makes batches itself; give a data set "
            f"of single examples, so that other batch sizes can be tried"
        )
    sampler = None if is_stream(loader.dataset) else _sampler_of_its_own(loader)
    if sampler is not None:
        to_do = f"give {split}=loader.dataset, or a Subset of it"
        if split == "train":
            to_do = (
                "give train=loader.dataset and make_sampler=lambda batch_size, seed: ..., which "
                "makes a sampler for each batch size"
            )
        raise WorkloadError(f"{what} with a {type(sampler).__name__} of its own; {to_do}")
    collate = _collate_of(loader)
    if split == "train" or collate == workload.collate:  # the same collate as in training
        return loader.dataset
    return Collated(dataset=loader.dataset, collate=collate)


def _collate_of(loader: DataLoader[Any]) -> Collate | None:
    return None if loader.collate_fn is default_collate else loader.collate_fn


def _sampler_of_its_own(loader: DataLoader[Any]) -> object | None:
    sampler: object = loader.sampler
    if type(loader.batch_sampler) is not BatchSampler:
        return loader.batch_sampler
    if type(sampler) is SequentialSampler:
        return None
    if type(sampler) is RandomSampler and not sampler.replacement:
        if sampler.num_samples == len(loader.dataset):  # type: ignore[arg-type]
            return None
    return sampler


def _arranged(data: Any, what: str, workload: Workload) -> Data:
    """Convert arrays to tensors.

    Return a tuple of tensors if `data` is a tuple without nested containers, else `Columns`.
    """
    is_tuple = isinstance(data, tuple) and not any(is_container(value) for value in data)
    by_place = {}
    for place, value in leaves(data):
        if not isinstance(value, Tensor | np.ndarray):
            raise WorkloadError(
                f"{what}{place} is of type {type(value).__name__}; expected a tensor or an array "
                f"with examples first"
            )
        by_place[place] = _column(value, what if is_tuple else what + place, workload)
    if not by_place:
        raise WorkloadError(f"{what} is empty; expected tensors or arrays with examples first")
    lengths = {column.shape[:1] for column in by_place.values()}
    if len(lengths) != 1 or () in lengths:
        shapes = ", ".join(f"{tuple(column.shape)} in {at}" for at, column in by_place.items())
        raise WorkloadError(
            f"{what} holds the shapes {shapes}; expected the same number of examples first in each"
        )
    columns = list(by_place.values())
    if is_tuple and all(isinstance(column, Tensor) for column in columns):
        return tuple(columns)
    return Columns(Columns(data).filled(columns))


def _column(column: Any, what: str, workload: Workload) -> Any:
    """Convert an array to a tensor; return a tensor, memory map or array of texts unchanged."""
    if isinstance(column, Tensor):
        return column
    if column.dtype.kind in "OUS" and workload.collate is not None:
        return column  # texts, which the user's own `collate` converts to numbers
    is_mapped = file_region(column) is not None
    _check_kind(column, what, is_mapped=is_mapped)
    if is_mapped:
        return column
    # Copy the array only if torch cannot read its memory (negative strides, foreign byte order).
    is_readable = all(stride >= 0 and stride % column.itemsize == 0 for stride in column.strides)
    if not (column.dtype.isnative and is_readable):
        column = np.ascontiguousarray(column, dtype=column.dtype.newbyteorder("="))
    return shared_tensor(column)


def _check_kind(column: np.ndarray[Any, Any], what: str, *, is_mapped: bool) -> None:
    holds = f"{what} holds a NumPy array of {column.dtype.name}"
    if column.dtype.kind == "f" and column.dtype.itemsize >= np.dtype(np.float64).itemsize:
        # Doubles are NumPy's default. Refuse them, because casting loses digits in a float64 model.
        to_do = 'give x.astype("float32")'
        if is_mapped:
            to_do = "keep the file in float32, or give a Dataset that casts each example"
        raise WorkloadError(
            f"{holds}, and models are float32: {to_do}, or torch.from_numpy(x) for a model of "
            f"doubles"
        )
    if column.dtype.kind not in "buif" or (column.dtype.kind == "u" and column.dtype.itemsize > 1):
        raise WorkloadError(
            f'{holds}; expected numbers: give x.astype("int64") or x.astype("float32"), or a '
            f"`collate` that turns words into numbers"
        )


def _check(data: Any, split: str, what: str) -> None:
    """Refuse a split without examples or of an unsupported type."""
    kind = type(data).__name__
    if is_stream(data) and not hasattr(data, "__len__"):
        raise WorkloadError(
            f"{what} is of type {kind} without a length, and an epoch needs one; give it a __len__ "
            f"that returns how many examples it gives"
        )
    is_dataset = hasattr(data, "__len__") and (is_stream(data) or hasattr(data, "__getitem__"))
    is_array = isinstance(data, Tensor | np.ndarray)
    if isinstance(data, list) and data:  # refuse, because a tuple was probably meant
        is_array = all(isinstance(item, Tensor | np.ndarray) for item in data)
    if is_array or not is_dataset:
        raise WorkloadError(
            f"{what} is of type {kind}; expected a tuple of tensors or arrays with examples first, "
            f"such as {split}=(x, y) or {split}=(x,), or a Dataset with __len__ and __getitem__"
        )
    if size_of(data) < 1:
        raise WorkloadError(f"{what} holds no examples; it needs at least one")


def check_sampling(workload: Workload, sampling: Sampling) -> None:
    """Refuse any `sampling` but "reshuffle" if the workload sets the order of its examples."""
    has_order = is_stream(workload.train) or workload.make_sampler is not None
    if has_order and sampling != "reshuffle":
        raise UsageError(
            f"sampling {sampling}: workload {workload.name!r} chooses the order of its training "
            f"examples itself; leave sampling out"
        )


# The most validation examples to split off. With 400,000 examples, an accuracy has a standard error
# of at most 0.0008; evaluating more examples would take as long as training.
_MOST_HELD = 400_000
# The seed that draws the validation tenth. Another seed would change the data of every study.
_SPLIT_SEED = 20_170_308
FEW_EXAMPLES = 2000
"""With fewer validation examples than this, each training seed draws its own validation set."""


def draws_by_seed(workload: Workload) -> bool:
    """Return whether each seed draws its own validation set; call before `with_validation`."""
    n_held = size_of(workload.train) // VALIDATION_EVERY
    return workload.validation == "split" and n_held < FEW_EXAMPLES


def redraw_validation(workload: Workload, seed: int) -> None:
    """Draw new validation examples with `seed` from the training and validation sets together.

    The sets exchange examples in place, so call this only in a child process, which has a copy.
    """
    n_held = size_of(workload.validation)
    drawn = shuffled(n_held + size_of(workload.train), seed=_SPLIT_SEED + seed)[:n_held]
    coming = drawn[drawn >= n_held] - n_held
    leaves_it = torch.ones(n_held, dtype=torch.bool)
    leaves_it[drawn[drawn < n_held]] = False
    going = leaves_it.nonzero()[:, 0]
    for validation, train in zip(_rows(workload.validation), _rows(workload.train), strict=True):
        validation[going], train[coming] = train[coming], validation[going]


def _rows(data: Data | None) -> tuple[Tensor, ...]:
    """Return the tensors of a split, or the tensor of indices of a `ChosenPart`."""
    if isinstance(data, ChosenPart):
        return (data.indices,)
    return tensors_of(data)


def with_validation(workload: Workload) -> Workload:
    """Return `workload`; if `validation="split"`, move a fixed tenth of `train` to validation."""
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
    return replace(
        workload,
        train=chosen_part(workload.train, order[n_held:].sort().values),
        validation=chosen_part(workload.train, order[:n_held].sort().values),
    )


def tensors_of(data: Data | None) -> tuple[Tensor, ...]:
    """Return the tensors of a split; () for a data set whose examples are read one by one."""
    if isinstance(data, TensorDataset):
        return data.tensors
    columns = resident(data)
    return () if columns is None else columns.parts


def _check_apart(workload: Workload) -> None:
    for one, other in combinations(SPLITS, 2):
        if _are_same(getattr(workload, one), getattr(workload, other)):
            raise WorkloadError(
                f"workload {workload.name!r}: {one} and {other} are the same data; give {other} "
                f"examples of its own"
            )


def _are_same(one: Data | None, other: Data | None) -> bool:
    if isinstance(one, str | None) or isinstance(other, str | None):
        return False
    # Compare only the data sets: a different collate function does not change the examples.
    one, other = opened(one, None)[0], opened(other, None)[0]
    tensors, others = tensors_of(one), tensors_of(other)
    if tensors and others:
        return tensors[0].data_ptr() == others[0].data_ptr()
    return one is other
