"""Batches: which examples a step sees, in which order, cut into which micro-batches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data import DataLoader, Dataset, default_collate

from batchlab.errors import BatchSizeError, WorkloadError
from batchlab.random_state import seed_everything, untouched_randomness
from batchlab.records.trial import Sampling, Trial
from batchlab.workload.data import (
    Collated,
    Columns,
    fetched,
    fetched_in_parts,
    filled,
    is_container,
    resident_tensors,
    shuffled,
)
from batchlab.workload.definition import SPLITS, Batch, Workload, size_of
from batchlab.workload.stream import Reading, has_set_epoch, is_stream

# What every generator takes as a seed.
_MOST_SEED = 2**31


def sampled_order(workload: Workload, *, batch_size: int, seed: int, drop_last: bool) -> Tensor:
    """The indices of one epoch, in the order in which `make_sampler` gives them.

    Raises:
        WorkloadError: batches of other sizes, too few or too many indices, or foreign ones.
    """
    assert workload.make_sampler is not None
    n_train = size_of(workload.train)
    seed %= _MOST_SEED
    with untouched_randomness():
        seed_everything(seed)
        given = list(workload.make_sampler(batch_size, seed))
    what = f"workload {workload.name!r}: make_sampler(batch_size={batch_size})"
    if given and all(is_group(part) for part in given):
        groups = [_indices(part, what) for part in given]
        _check_sizes([len(group) for group in groups], batch_size, what)
        order = [index for group in groups for index in group]
    else:
        order = _indices(given, what)
    least = n_train - n_train % batch_size if drop_last else n_train
    if not least <= len(order) <= n_train:
        raise WorkloadError(
            f"{what} gave {len(order):,} indices for an epoch; expected {n_train:,}, as many as "
            f"there are training examples"
        )
    foreign = next((index for index in order if not 0 <= index < n_train), None)
    if foreign is not None:
        raise WorkloadError(
            f"{what} gave the index {foreign}; expected 0 to {n_train - 1}, the places of the "
            f"training examples"
        )
    return torch.tensor(order, dtype=torch.int64)


def is_group(part: object) -> bool:
    """Whether a sampler gave several indices at once, those of a batch."""
    return isinstance(part, (list, tuple)) or (
        isinstance(part, Tensor | np.ndarray) and part.ndim == 1
    )


def _indices(given: Iterable[Any], what: str) -> list[int]:
    try:
        return [int(index.__index__()) for index in given]
    except (AttributeError, TypeError) as error:
        raise WorkloadError(
            f"{what} gave something that is no index; expected whole numbers, or lists of "
            f"them, one for each batch"
        ) from error


def _check_sizes(sizes: list[int], batch_size: int, what: str) -> None:
    odd = next((size for size in sizes[:-1] if size != batch_size), None)
    if odd is None and sizes[-1] <= batch_size:
        return
    found = sizes[-1] if odd is None else odd
    raise WorkloadError(
        f"{what} gave a batch of {found} examples; expected {batch_size} in each but a smaller "
        f"last one: fill up the batches across buckets"
    )


# Examples gathered by one index_select: enough that its cost vanishes beside the steps, few enough
# that the copy stays in the cache.
_GATHER_EXAMPLES = 512
# Where PyTorch begins every tensor of its own.
_BOUNDARY_BYTES = 64


def derived_seed(*parts: object) -> int:
    """A 63-bit seed made from `parts`, so that every use has a random stream of its own."""
    digest = hashlib.sha256(" ".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def epoch_order(n_train: int, *, seed: int, epoch: int, sampling: Sampling) -> Tensor:
    """The examples of one epoch in the order they are used; the same for every batch size.

    It depends on nothing but its arguments, so a run taken up in the middle of an epoch goes on
    with the very examples it would have met.
    """
    own_seed = derived_seed("order", seed, epoch)
    if sampling == "reshuffle":
        return shuffled(n_train, seed=own_seed)
    return torch.randint(n_train, (n_train,), generator=torch.Generator().manual_seed(own_seed))


def order_of(workload: Workload, trial: Trial, epoch: int) -> Tensor:
    """The examples of one epoch of a trial: by the workload's sampler, or as `epoch_order` says."""
    if workload.make_sampler is None:
        return epoch_order(trial.n_train, seed=trial.seed, epoch=epoch, sampling=trial.sampling)
    return sampled_order(
        workload,
        batch_size=trial.batch_size,
        seed=derived_seed("sampler", trial.seed, epoch),
        drop_last=trial.drop_last,
    )


def n_examples(batch: Batch) -> int:
    """The number of examples in a batch: the length of the first tensor, or packed sequences.

    Where the first tensor has something else first, the check before a study asks for a `weight`.

    Raises:
        BatchSizeError: there is no tensor with examples first in it.
    """
    found = _count_of_first_tensor(batch)
    if found is None:
        raise BatchSizeError(
            f"a batch of type {type(batch).__name__} holds no tensor to count its examples by; let "
            f"`collate` return tensors, or a tuple, list or dict of them, with examples first, or "
            f"give the workload a `weight`"
        )
    return found


def _count_of_first_tensor(batch: Batch) -> int | None:
    if isinstance(batch, Tensor):
        return len(batch) if batch.ndim else None
    if isinstance(batch, PackedSequence):  # a tuple, whose first tensor holds the time steps of all
        return int(batch.batch_sizes[0])
    parts = batch.values() if isinstance(batch, Mapping) else batch
    if isinstance(batch, (Mapping, tuple, list)):
        for part in parts:
            found = _count_of_first_tensor(part)
            if found is not None:
                return found
    return None


# The micro-batches of each step of an epoch, beginning with one of its steps.
Epoch = Callable[[int, int], Iterator[Sequence[Batch]]]


class TensorBatches:
    """Batches of tensors that stay on the device: indexed, never collated one by one."""

    def __init__(self, workload: Workload, trial: Trial, device: torch.device) -> None:
        """Move the tensors to the device, once."""
        resident = resident_tensors(workload.train)
        assert resident is not None
        self._tensors = tuple(part.to(device) for part in resident)
        self._shaped: Callable[[Sequence[Tensor]], Batch] = tuple
        if isinstance(workload.train, Columns):
            self._shaped = workload.train.filled
        self._workload = workload
        self._trial = trial
        self._plan = trial.plan
        self._device = device

    def epoch(self, epoch: int, first_step: int) -> Iterator[Sequence[Batch]]:
        """The micro-batches of each step of `epoch`, beginning with step `first_step` of it.

        Raises:
            WorkloadError: the step before has written into the training examples.
        """
        begin, end = self._plan.steps_in(epoch), self._plan.steps_in(epoch + 1)
        if self._may_stay_as_they_lie(begin):
            if first_step > 0:
                return
            versions = [part._version for part in self._tensors]
            yield (self._shaped(self._tensors),)
            if versions != [part._version for part in self._tensors]:
                raise WorkloadError(
                    f"workload {self._workload.name!r}: its loss or its model writes into the "
                    f"training examples themselves; let it work on a copy (x = x / 255, not x /= "
                    f"255)"
                )
            return
        trial = self._trial
        order = order_of(self._workload, trial, epoch).to(self._device)
        taken = self._plan.samples_at(begin)  # before this epoch
        first = begin + first_step
        while first < end:
            last = self._last_of_gather(first, end)
            sizes = [self._plan.batch_size_at(step) for step in range(first, last)]
            start = self._plan.samples_at(first) - taken
            chosen = order[start : start + sum(sizes)]
            batches = self._gathered(chosen, sizes)
            whole = max(sizes) <= trial.micro_batch_size  # then a step's only pass is its batch
            yield from zip(map(self._shaped, batches)) if whole else map(self._cut, batches)
            first = last

    def _may_stay_as_they_lie(self, step: int) -> bool:
        """Whether the step may see the training set as it is, without a copy.

        The order within one whole batch makes no difference but to rounding. Where micro-batches
        normalise over themselves, it does make one; and `augment` may write into what it is given.
        """
        trial = self._trial
        return (
            self._plan.batch_size_at(step) == trial.n_train
            and trial.sampling == "reshuffle"
            and trial.micro_batch_size >= trial.n_train
            and self._workload.augment is None
            and self._workload.make_sampler is None
        )

    def _last_of_gather(self, first: int, end: int) -> int:
        """Where the steps end that are gathered together with step `first`, at most `end`."""
        most = self._plan.samples_at(first) + _GATHER_EXAMPLES
        too_many = self._plan.step_at(most + 1)  # the fewest steps with more examples than that
        return min(end, max(first + 1, too_many - 1))

    def _gathered(self, chosen: Tensor, sizes: list[int]) -> Iterator[tuple[Tensor, ...]]:
        """The examples `chosen`, cut into batches of these sizes."""
        return zip(*(_cut(part, chosen, sizes) for part in self._tensors), strict=True)

    def _cut(self, batch: tuple[Tensor, ...]) -> Sequence[Batch]:
        parts = (part.split(self._trial.micro_batch_size) for part in batch)
        return tuple(map(self._shaped, zip(*parts, strict=True)))


def _cut(part: Tensor, chosen: Tensor, sizes: list[int]) -> Iterable[Tensor]:
    if _may_share_memory(part, sizes):
        batches: tuple[Tensor, ...] = part.index_select(0, chosen).split(sizes)
        return batches
    return (part.index_select(0, batch) for batch in chosen.split(sizes))


def _may_share_memory(part: Tensor, sizes: list[int]) -> bool:
    """Whether batches cut from one piece of memory train as batches with memory of their own do.

    The kernels for products look at where their operands begin: elsewhere than on such a boundary
    the last bits differ, and with them a run from one that was taken up in the middle.
    """
    if not part.is_floating_point():
        return True
    bytes_per_example = part[0].numel() * part.element_size()
    return all(size * bytes_per_example % _BOUNDARY_BYTES == 0 for size in set(sizes[:-1]))


class _FetchedSteps(Dataset[Sequence[Batch]]):
    """The steps of one epoch over a map-style Dataset: item k is step k's micro-batches."""

    def __init__(self, workload: Workload, trial: Trial, epoch: int, first_step: int) -> None:
        self._workload = workload
        self._trial = trial
        self._epoch = epoch
        self._first_step = first_step
        self._plan = trial.plan
        self._begin = self._plan.steps_in(epoch)
        self._order = order_of(workload, trial, epoch)

    def __len__(self) -> int:
        return self._plan.steps_in(self._epoch + 1) - self._begin - self._first_step

    def __getitem__(self, position: int) -> Sequence[Batch]:
        step = self._first_step + position
        # A dataset that draws random crops must draw the same ones whichever worker serves the
        # step and wherever the run was taken up again.
        seed = derived_seed("fetch", self._trial.seed, self._epoch, step)
        start, stop = (
            self._plan.samples_at(self._begin + steps) - self._plan.samples_at(self._begin)
            for steps in (step, step + 1)
        )
        with untouched_randomness():
            seed_everything(seed)
            return fetched_in_parts(
                self._workload.train,
                self._order[start:stop],
                self._workload.collate,
                most=self._trial.micro_batch_size,
            )


def _fetched_epoch(
    workload: Workload, trial: Trial, device: torch.device, epoch: int, first_step: int
) -> Iterator[Sequence[Batch]]:
    """Batches of a map-style Dataset, through a DataLoader with the user's collate and workers."""
    # A generator of its own: the loader must not draw its seed from the trial's stream.
    generator = torch.Generator().manual_seed(derived_seed("loader", trial.seed, epoch))
    loader = DataLoader(
        _FetchedSteps(workload, trial, epoch, first_step),
        batch_size=1,
        collate_fn=itemgetter(0),
        num_workers=workload.workers,
        # A trial's process comes from a fork server, which its workers would inherit: they
        # would get the user's functions by plain pickle, which cannot carry them.
        multiprocessing_context="fork" if workload.workers else None,
        generator=generator,
        pin_memory=device.type == "cuda",
    )
    for micro_batches in loader:
        yield tuple(on_device(batch, device) for batch in micro_batches)


def on_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with every tensor in it on `device`; what has a `to` of its own is asked to."""
    return mapped(
        batch,
        lambda part: part.to(device, non_blocking=True),
        otherwise=lambda part: part.to(device) if callable(getattr(part, "to", None)) else part,
    )


def mapped(
    batch: Batch,
    function: Callable[[Tensor], Tensor],
    *,
    otherwise: Callable[[Any], Any] = lambda part: part,
) -> Batch:
    """The batch with `function` of every tensor in it, in the same containers."""
    if isinstance(batch, Tensor):
        return function(batch)
    if is_container(batch):
        return filled(batch, lambda part: mapped(part, function, otherwise=otherwise))
    return otherwise(batch)


def examples_at(workload: Workload, chosen: Tensor) -> Batch:
    """Training examples as one batch, not augmented, where the data are."""
    return fetched(workload.train, chosen, workload.collate)


_SHORT = 10_000
_COMPARED = 64  # examples: in another order, or drawn anew, one of them is another
_PLAIN = (str, bytes, int, float, complex, np.generic)


def _streamed_epoch(
    workload: Workload, trial: Trial, device: torch.device, epoch: int, first_step: int
) -> Iterator[Sequence[Batch]]:
    """Batches of a stream; a run that is taken up reads on to its place.

    Raises:
        WorkloadError: the stream gives more or fewer examples than its length says.
    """
    collate, plan, micro = workload.collate or default_collate, trial.plan, trial.micro_batch_size
    reading = Reading(
        workload.train,
        epoch=epoch,
        seed=derived_seed("stream", trial.seed, epoch),
        what=f"workload {workload.name!r}: train",
    )
    begin, end = plan.steps_in(epoch), plan.steps_in(epoch + 1)
    reading.skip(plan.samples_at(begin + first_step) - plan.samples_at(begin))
    for step in range(begin + first_step, end):
        examples = reading.take(plan.batch_size_at(step))
        if step == end - 1:  # now, for a run may end here
            reading.check_end()
        with untouched_randomness():
            seed_everything(derived_seed("fetch", trial.seed, epoch, step))
            parts = [collate(examples[at : at + micro]) for at in range(0, len(examples), micro)]
        yield tuple(on_device(part, device) for part in parts)


def check_streams(workload: Workload) -> None:
    """Read the workload's short streams to their end: are they as long as they say?

    Each epoch reads a copy of the training stream, so one that counts its passes itself would be in
    the first for ever.

    Raises:
        WorkloadError: one of up to 10,000 examples has another length, or train counts its passes.
    """
    for split in SPLITS:
        data = getattr(workload, split)
        data = data.dataset if isinstance(data, Collated) else data
        if data is None or not is_stream(data):
            continue
        what = f"workload {workload.name!r}: {split}"
        reading = Reading(data, epoch=0, seed=0, what=what)
        may_count = split == "train" and not has_set_epoch(data)
        first = reading.take(min(len(data), _COMPARED)) if may_count else []
        if len(data) <= _SHORT:
            reading.check_end()
        if may_count:  # after the end, where some count
            _check_passes(data, reading, first, what)


def _check_passes(data: Any, reading: Reading, first: list[Any], what: str) -> None:
    reading.begin()
    if _are_same(first, reading.take(len(first))):
        return
    fresh = Reading(data, epoch=0, seed=0, what=what)
    if _are_same(first, fresh.take(len(first))):
        raise WorkloadError(
            f"{what} counts its passes itself: read again, it gave other examples. Each epoch "
            f"reads a copy of it as it is, so all would be alike; give it a set_epoch(epoch), "
            f"which is called before each epoch"
        )


def _are_same(one: Any, other: Any) -> bool:
    """Whether two examples are equal, part by part; what cannot be compared counts as equal."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_are_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_are_same, one, other))
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and bool(((one == other) | (one != one)).all())
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return bool(np.array_equal(one, other))
    if isinstance(one, _PLAIN) and isinstance(other, _PLAIN):
        return bool(one == other) or one != one
    return True


def training_batches(workload: Workload, trial: Trial, device: torch.device) -> Epoch:
    """Where the steps of `trial` get their examples from, epoch by epoch."""
    if is_stream(workload.train):
        return partial(_streamed_epoch, workload, trial, device)
    is_tuple = isinstance(workload.train, tuple)
    if is_tuple or (resident_tensors(workload.train) is not None and workload.collate is None):
        return TensorBatches(workload, trial, device).epoch
    return partial(_fetched_epoch, workload, trial, device)
