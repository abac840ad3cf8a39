"""Batches: the examples of each step, their order, and the division into micro-batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from operator import index, itemgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from batchlab.errors import WorkloadError
from batchlab.random_state import derived_seed, untouched_randomness
from batchlab.records.batch_plan import BatchPlan
from batchlab.records.trial import Trial
from batchlab.workload.data import (
    Collate,
    Columns,
    StreamPass,
    collated,
    epoch_order,
    fetched,
    fetched_in_parts,
    is_stream,
    leaves,
    mapped,
    resident,
)
from batchlab.workload.definition import Batch, Data, Workload

# The limit of seeds: every random generator accepts a seed below this number.
_MOST_SEED = 2**31


def order_of(workload: Workload, trial: Trial, epoch: int) -> Tensor:
    """Return an epoch's example indices in training order; `make_sampler` may set the order."""
    if workload.make_sampler is None:
        return epoch_order(trial.n_train, seed=trial.seed, epoch=epoch, sampling=trial.sampling)
    seed = derived_seed("sampler", trial.seed, epoch)
    return sampled_order(workload, trial.plan, seed=seed, epoch=epoch)


def resident_order(workload: Workload, trial: Trial, epoch: int) -> Tensor:
    """Return the indices of an epoch's examples, in the order of `order_of` or not shuffled.

    If a single forward pass processes all training examples, their order affects only rounding, so
    they are not shuffled. Micro-batches need a random order, because layers may normalize each
    micro-batch.
    """
    plan, n_train = trial.plan, trial.n_train
    is_whole = min(plan.batch_size_at(plan.steps_in(epoch)), trial.micro_batch_size) == n_train
    has_own_order = workload.make_sampler is not None or workload.augment is not None
    if is_whole and trial.sampling == "reshuffle" and not has_own_order:
        return torch.arange(n_train)
    return order_of(workload, trial, epoch)


def part_of(order: Tensor, plan: BatchPlan, epoch: int, first: int, end: int) -> Tensor:
    """Return the example indices of steps `first` to `end` - 1, cut from the epoch's `order`."""
    taken = plan.samples_at(plan.steps_in(epoch))  # the number of examples in earlier epochs
    return order[plan.samples_at(first) - taken : plan.samples_at(end) - taken]


def sampled_order(workload: Workload, plan: BatchPlan, *, seed: int, epoch: int = 0) -> Tensor:
    """Return the example indices of one epoch, in the order of the workload's `make_sampler`.

    The sampler is made for the batch size of the epoch's first step.
    """
    assert workload.make_sampler is not None
    seed %= _MOST_SEED
    begin, end = plan.steps_in(epoch), plan.steps_in(epoch + 1)
    size = plan.stage_at(begin).batch_size
    with untouched_randomness(seed):
        drawn = list(workload.make_sampler(size, seed))
    what = f"workload {workload.name!r}: make_sampler(batch_size={size})"
    if drawn and all(map(_is_group, drawn)):
        lengths = list(map(len, drawn))
        if {*lengths[:-1]} - {size} or lengths[-1] > size:
            raise WorkloadError(
                f"{what} gave a batch of {max(lengths)} examples and one of {min(lengths)}; "
                f"expected {size} in each but a smaller last one: fill up the batches across "
                f"buckets"
            )
        drawn = list(chain.from_iterable(drawn))
    try:
        order = list(map(index, drawn))
    except TypeError as error:
        raise WorkloadError(
            f"{what} gave something that is not an index; expected whole numbers, or lists of "
            f"them, one for each batch"
        ) from error
    n_train = plan.n_train
    is_whole = plan.samples_at(end) - plan.samples_at(begin) <= len(order) <= n_train
    if not (is_whole and 0 <= min(order) <= max(order) < n_train):
        raise WorkloadError(
            f"{what} gave {len(order):,} indices, from {min(order, default=0)} to "
            f"{max(order, default=0)}; expected {n_train:,} places of training examples, from 0 to "
            f"{n_train - 1}"
        )
    return torch.tensor(order, dtype=torch.int64)


def _is_group(part: object) -> bool:
    """Return whether an item of a sampler is a batch of indices rather than a single index."""
    return isinstance(part, (list, tuple)) or (
        isinstance(part, Tensor | np.ndarray) and part.ndim == 1
    )


def on_device(batch: Batch, device: torch.device) -> Batch:
    """Return a batch with its tensors, and other values with a `to` method, moved to `device`."""

    def moved(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(device, non_blocking=True)
        if callable(getattr(value, "to", None)):
            return value.to(device)
        return value

    return mapped(batch, moved)


def with_tensors(batch: Batch, function: Callable[[Tensor], Tensor]) -> Batch:
    """Return a batch of the same structure, with `function` applied to every tensor."""

    def changed(value: Any) -> Any:
        if isinstance(value, Tensor):
            return function(value)
        return value

    return mapped(batch, changed)


def versions_of(batch: Batch) -> list[int]:
    """Return the number of in-place writes into each tensor of a batch, to detect new writes."""
    tensors = [value for _, value in leaves(batch) if isinstance(value, Tensor)]
    return [tensor._version for tensor in tensors if not tensor.is_inference()]


def examples_at(workload: Workload, chosen: Tensor) -> Batch:
    """Return the training examples at indices `chosen` as one batch, without `augment`."""
    return fetched(workload.train, chosen, workload.collate)


# A function of (epoch, first step within the epoch) that yields each step's micro-batches.
Epoch = Callable[[int, int], Iterator[Sequence[Batch]]]


def training_batches(workload: Workload, trial: Trial, device: torch.device) -> Epoch:
    """Return a function that yields the micro-batches of each step of an epoch, on `device`."""
    if is_stream(workload.train):
        return partial(_streamed_epoch, workload, trial, device)
    columns = columns_in_memory(workload.train, workload.collate)
    if columns is None:
        return partial(_fetched_epoch, workload, trial, device)
    on_device_once = [column.to(device) for column in columns.parts]
    return partial(_resident_epoch, workload, trial, on_device_once, columns.filled)


def columns_in_memory(data: Data, collate: Collate | None) -> Columns | None:
    """Return data as tensors with one row per example; None if examples are fetched one by one."""
    columns = resident(data)
    return None if collate is not None and columns is data else columns


def _resident_epoch(
    workload: Workload,
    trial: Trial,
    columns: Sequence[Tensor],
    shaped: Callable[[Sequence[Tensor]], Batch],
    epoch: int,
    first_step: int,
) -> Iterator[Sequence[Batch]]:
    """Yield an epoch's batches by indexing tensors on the device, without collating examples."""
    plan = trial.plan
    order = resident_order(workload, trial, epoch).to(columns[0].device)
    for step in range(plan.steps_in(epoch) + first_step, plan.steps_in(epoch + 1)):
        chosen = part_of(order, plan, epoch, step, step + 1)
        batch = []
        for column in columns:
            batch.append(column.index_select(0, chosen).split(trial.micro_batch_size))
        yield tuple(map(shaped, zip(*batch, strict=True)))


class _FetchedSteps(Dataset[Sequence[Batch]]):
    """The steps of one epoch as a Dataset; item 0 is the micro-batches of step `first_step`."""

    def __init__(self, workload: Workload, trial: Trial, epoch: int, first_step: int) -> None:
        self._workload = workload
        self._trial = trial
        self._epoch = epoch
        self._first_step = first_step
        self._n_steps = trial.plan.steps_in(epoch + 1) - trial.plan.steps_in(epoch) - first_step
        self._order = order_of(workload, trial, epoch)

    def __len__(self) -> int:
        return self._n_steps

    def __getitem__(self, position: int) -> Sequence[Batch]:
        step = self._first_step + position  # the number of the step within the epoch
        plan = self._trial.plan
        at = plan.steps_in(self._epoch) + step
        # Seed each step, because a dataset's random crops must not depend on the worker, nor on
        # whether the run was resumed.
        with untouched_randomness(derived_seed("fetch", self._trial.seed, self._epoch, step)):
            return fetched_in_parts(
                self._workload.train,
                part_of(self._order, plan, self._epoch, at, at + 1),
                self._workload.collate,
                most=self._trial.micro_batch_size,
            )


def _fetched_epoch(
    workload: Workload, trial: Trial, device: torch.device, epoch: int, first_step: int
) -> Iterator[Sequence[Batch]]:
    """Yield an epoch's batches, which a DataLoader fetches from a map-style Dataset."""
    # Use a separate generator, because the loader must not draw from the trial's random stream.
    generator = torch.Generator().manual_seed(derived_seed("loader", trial.seed, epoch))
    context = None
    if workload.workers:
        # Do not use the default start method, which in a trial's process is a fork server: it sends
        # the user's functions to workers by plain pickle, which can't serialize these functions.
        context = "fork"
    loader = DataLoader(
        _FetchedSteps(workload, trial, epoch, first_step),
        batch_size=1,
        collate_fn=itemgetter(0),
        num_workers=workload.workers,
        multiprocessing_context=context,
        generator=generator,
        pin_memory=device.type == "cuda",
    )
    for micro_batches in loader:
        yield on_device(micro_batches, device)


def _streamed_epoch(
    workload: Workload, trial: Trial, device: torch.device, epoch: int, first_step: int
) -> Iterator[Sequence[Batch]]:
    """Yield the batches of one epoch of a stream, from step `first_step` of the epoch on."""
    plan, seed = trial.plan, derived_seed("stream", trial.seed, epoch)
    what = f"workload {workload.name!r}: train"
    reading = StreamPass(workload.train, epoch=epoch, seed=seed, what=what)
    begin, end = plan.steps_in(epoch), plan.steps_in(epoch + 1)
    reading.skip(plan.samples_at(begin + first_step) - plan.samples_at(begin))
    for step in range(begin + first_step, end):
        examples = reading.take(plan.batch_size_at(step))
        with untouched_randomness(derived_seed("fetch", trial.seed, epoch, step)):
            micro_batches = collated(examples, workload.collate, most=trial.micro_batch_size)
        yield on_device(micro_batches, device)
