"""LoaderTemplate: a DataLoader as data; its data set, collate and workers are taken.

So is its batch size, where the workload states none (`Workload.batch_size`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    default_collate,
)

from batchlab.errors import WorkloadError
from batchlab.workload.definition import (
    SPLITS,
    VALIDATION_EVERY,
    Batch,
    Workload,
    loader_batch_size,
)
from batchlab.workload.stream import is_stream

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


def without_loaders(workload: Workload) -> tuple[Workload, tuple[str, ...]]:
    """`workload` with the data sets of its DataLoaders, and what else of these is not taken.

    Raises:
        WorkloadError: a loader chooses or collates examples in a way that cannot be taken over.
    """
    notes: list[str] = []
    if isinstance(workload.train, DataLoader):
        workload = _with_train(workload, workload.train, notes)
    changed = {
        split: _taken(workload, split, loader, notes)
        for split in SPLITS
        if isinstance(loader := getattr(workload, split), DataLoader)
    }
    return (replace(workload, **changed) if changed else workload), tuple(notes)


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
