"""StreamBatches: batches of an IterableDataset, in the order in which it gives its examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from batchlab.errors import WorkloadError
from batchlab.random_state import seed_everything, untouched_randomness
from batchlab.records.trial import Trial
from batchlab.training.batching import derived_seed, on_device
from batchlab.workload.definition import Batch, Data, Workload
from batchlab.workload.fetching import Collate
from batchlab.workload.loader_template import Collated
from batchlab.workload.stream import Reading, has_set_epoch, is_stream

_SHORT = 10_000
_COMPARED = 64  # examples: in another order, or drawn anew, one of them is another
_PLAIN = (str, bytes, int, float, complex, np.generic)


class StreamBatches:
    """The steps of a trial over a stream; a run that is taken up reads on to its place."""

    def __init__(self, workload: Workload, trial: Trial, device: torch.device) -> None:
        """Nothing is read yet."""
        self._workload = workload
        self._trial = trial
        self._plan = trial.plan
        self._device = device
        self._collate = workload.collate or default_collate

    def epoch(self, epoch: int, *, first_step: int) -> Iterator[Sequence[Batch]]:
        """The micro-batches of each step of `epoch`, beginning with step `first_step` of it.

        Raises:
            WorkloadError: the stream gives more or fewer examples than its length says.
        """
        seed = self._trial.seed
        reading = Reading(
            self._workload.train,
            epoch=epoch,
            seed=derived_seed("stream", seed, epoch),
            what=f"workload {self._workload.name!r}: train",
        )
        begin, end = self._plan.steps_in(epoch), self._plan.steps_in(epoch + 1)
        reading.skip(self._plan.samples_at(begin + first_step) - self._plan.samples_at(begin))
        for step in range(begin + first_step, end):
            examples = reading.take(self._plan.batch_size_at(step))
            if step == end - 1:  # now, for a run may end here
                reading.check_end()
            yield tuple(
                on_device(part, self._device)
                for part in self._collated(examples, derived_seed("fetch", seed, epoch, step))
            )

    def _collated(self, examples: list[Any], seed: int) -> list[Batch]:
        micro = self._trial.micro_batch_size
        with untouched_randomness():
            seed_everything(seed)
            return [
                self._collate(examples[at : at + micro]) for at in range(0, len(examples), micro)
            ]


def check_streams(workload: Workload) -> None:
    """Read the workload's short streams to their end: are they as long as they say?

    Each epoch reads a copy of the training stream, so one that counts its passes itself would be in
    the first for ever.

    Args:
        workload: with its data.

    Raises:
        WorkloadError: one of up to 10,000 examples has another length, or train counts its passes.
    """
    for split in ("train", "validation", "test"):
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


class StreamedSplit:
    """The evaluation batches of a stream: its first examples, the same each time."""

    def __init__(
        self, data: Data, collate: Collate | None, *, n: int, batch_size: int, what: str
    ) -> None:
        """Nothing is read yet.

        Args:
            data: the stream.
            collate: list of examples -> batch; None: PyTorch's default.
            n: how many of its examples are evaluated.
            batch_size: of each batch but the last.
            what: names the stream in errors.
        """
        self._data = data
        self._collate = collate or default_collate
        self._n = n
        self._batch_size = batch_size
        self._what = what

    def __iter__(self) -> Iterator[Batch]:
        """Read them anew."""
        seed = derived_seed("evaluation stream")
        reading = Reading(self._data, epoch=0, seed=seed, what=self._what)
        for at in range(0, self._n, self._batch_size):
            yield self._collate(reading.take(min(self._batch_size, self._n - at)))
        if self._n == len(self._data):
            reading.check_end()
