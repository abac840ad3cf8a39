"""StreamBatches: batches of an IterableDataset, in the order in which it gives its examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import default_collate

from batchlab.random_state import seed_everything, untouched_randomness
from batchlab.records.trial import Trial
from batchlab.training.batching import derived_seed, on_device
from batchlab.workload.definition import Batch, Data, Workload
from batchlab.workload.fetching import Collate
from batchlab.workload.loader_template import Collated
from batchlab.workload.stream import Reading, is_stream

_SHORT = 10_000


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


def check_lengths(workload: Workload) -> None:
    """Read the workload's short streams to their end, and see that they are as long as they say.

    Raises:
        WorkloadError: one of up to 10,000 examples is not.
    """
    for split in ("train", "validation", "test"):
        data = getattr(workload, split)
        data = data.dataset if isinstance(data, Collated) else data
        if data is not None and is_stream(data) and len(data) <= _SHORT:
            what = f"workload {workload.name!r}: {split}"
            Reading(data, epoch=0, seed=0, what=what).check_end()


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
