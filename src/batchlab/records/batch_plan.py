"""BatchPlan: how many examples each optimizer step of a run sees, and what follows from that."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from batchlab.records.estimate import Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """What holds from a place in a run on.

    Attributes:
        from_samples: it begins with the first step before which so many examples were processed.
        batch_size: examples per step, 1 to N.
        rate_factor: what the learning rate is multiplied with.
    """

    from_samples: int
    batch_size: int
    rate_factor: float = 1.0


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """The batch size of every step of a run: always the same, except in the last of an epoch.

    Steps and epochs count from 0. Each epoch's examples are cut into batches, and no batch crosses
    the end of an epoch: the last one has the rest, or is left out. An epoch therefore has a whole
    number of steps. Everything that converts between steps, samples and epochs uses only these
    methods of the trial's plan, so that a trial may have another kind of plan.

    Attributes:
        n_train: examples in the training set, N.
        batch_size: examples per step, 1 to N.
        drop_last: whether a smaller last batch of an epoch is left out.
        stages: the later stages, with `from_samples` rising from above 0; none in this class.
    """

    n_train: int
    batch_size: int
    drop_last: bool
    stages: tuple[Stage, ...] = ()

    def batch_size_at(self, step: int) -> int:
        """Return the number of examples of step `step`, known without looking at the batch."""
        before = step % self._steps_per_epoch * self.batch_size
        return min(self.batch_size, self.n_train - before)

    def stage_at(self, step: int) -> Stage:
        """Return the stage at step `step`: the batch size planned there, and the rate's factor."""
        return Stage(from_samples=0, batch_size=self.batch_size)

    def samples_at(self, step: int) -> int:
        """Return the examples processed in the first `step` steps."""
        epochs, steps = divmod(step, self._steps_per_epoch)
        return epochs * self._samples_per_epoch + steps * self.batch_size

    def step_at(self, samples: float) -> int:
        """Return the steps of the shortest run that processes at least `samples` examples."""
        epochs = int(samples // self._samples_per_epoch)
        whole, rest = divmod(samples - epochs * self._samples_per_epoch, self.batch_size)
        return epochs * self._steps_per_epoch + int(whole) + (rest > 0)

    def epoch_at(self, step: int) -> float:
        """Return the passes over the training set in `step` steps, whole only at epoch ends."""
        return step / self._steps_per_epoch

    def steps_in(self, epochs: float) -> int:
        """Return the steps of the shortest run that does at least `epochs` epochs.

        If that is a whole number, it is also the step that begins the next epoch.
        """
        return math.ceil(epochs * self._steps_per_epoch)

    def position(self, step: int) -> tuple[int, int]:
        """Return the epoch of step `step`, and the number of steps before it in that epoch."""
        return divmod(step, self._steps_per_epoch)

    def train_s_at(self, step: int, step_s: Mapping[int, float]) -> float:
        """Return the seconds of the first `step` steps, given the seconds per step by batch size.

        A smaller last batch of an epoch counts as a whole one.
        """
        return step * step_s[self.batch_size]

    def last_batch_sizes(self) -> frozenset[int]:
        """Return the sizes of those last batches of epochs that are smaller than planned."""
        rest = self.n_train % self.batch_size
        return frozenset() if self.drop_last or not rest else frozenset({rest})

    def notes(self, micro_batch_size: int) -> tuple[Reason, ...]:
        """Return what a reader must know about the last batches and about accumulation."""
        notes = []
        rest = self.n_train % self.batch_size
        if rest and self.drop_last:
            notes.append(Reason.of("examples_left_out", rest=rest))
        elif rest:
            notes.append(Reason.of("last_batch_smaller", rest=rest))
        passes = -(-self.batch_size // micro_batch_size)
        if passes > 1:
            notes.append(Reason.of("steps_accumulate", passes=passes, size=micro_batch_size))
        return tuple(notes)

    # This is cached, because the stepper asks for the batch size of every single step.
    @cached_property
    def _steps_per_epoch(self) -> int:
        whole, rest = divmod(self.n_train, self.batch_size)
        return whole if self.drop_last or rest == 0 else whole + 1

    @cached_property
    def _samples_per_epoch(self) -> int:
        """The examples of an epoch, fewer than N if a smaller last batch is left out."""
        return min(self.n_train, self._steps_per_epoch * self.batch_size)


class _Stretch(NamedTuple):
    """Consecutive steps of one epoch with the same batch size."""

    step: int  # the first of them
    samples: int  # processed before it
    batch_size: int


@dataclass(frozen=True, kw_only=True)
class StagedBatchPlan(BatchPlan):
    """A batch plan whose batch size and rate factor change during the run.

    `batch_size` is that of the first steps. The epochs up to the end of the one in which the last
    stage begins are counted out; after them the batch size is constant.
    """

    def batch_size_at(self, step: int) -> int:  # noqa: D102
        since = step - self._end.step
        return self._after.batch_size_at(since) if since >= 0 else self._stretch(step).batch_size

    def stage_at(self, step: int) -> Stage:  # noqa: D102
        place = bisect_right(self.stages, self.samples_at(step), key=lambda s: s.from_samples)
        return self.stages[place - 1] if place else super().stage_at(step)

    def samples_at(self, step: int) -> int:  # noqa: D102
        since = step - self._end.step
        if since >= 0:
            return self._end.samples + self._after.samples_at(since)
        stretch = self._stretch(step)
        return stretch.samples + (step - stretch.step) * stretch.batch_size

    def step_at(self, samples: float) -> int:  # noqa: D102
        since = samples - self._end.samples
        if since >= 0:
            return self._end.step + self._after.step_at(since)
        place = bisect_right(self._stretches, samples, key=lambda stretch: stretch.samples)
        stretch = self._stretches[place - 1]
        return stretch.step + math.ceil((samples - stretch.samples) / stretch.batch_size)

    def epoch_at(self, step: int) -> float:
        """Return the passes over the training set in `step` steps, by examples within an epoch."""
        epoch, since = self.position(step)
        if since == 0:
            return float(epoch)
        begin, end = (self.samples_at(self._begin_of(each)) for each in (epoch, epoch + 1))
        return epoch + (self.samples_at(step) - begin) / (end - begin)

    def steps_in(self, epochs: float) -> int:  # noqa: D102
        whole = int(epochs)
        begin, end = (self.samples_at(self._begin_of(each)) for each in (whole, whole + 1))
        # Examples are whole, and a remainder from rounding would count as a step.
        return self.step_at(begin + round((epochs - whole) * (end - begin), 6))

    def position(self, step: int) -> tuple[int, int]:  # noqa: D102
        since = step - self._end.step
        if since >= 0:
            epoch, steps = self._after.position(since)
            return len(self._epochs) + epoch, steps
        epoch = bisect_right(self._epochs, step) - 1
        return epoch, step - self._epochs[epoch]

    def train_s_at(self, step: int, step_s: Mapping[int, float]) -> float:  # noqa: D102
        begins = [0, *(self.step_at(stage.from_samples) for stage in self.stages), step]
        sizes = (self.batch_size, *(stage.batch_size for stage in self.stages))
        parts = zip(sizes, pairwise(min(step, begin) for begin in begins), strict=True)
        return math.fsum((end - begin) * step_s[size] for size, (begin, end) in parts)

    def last_batch_sizes(self) -> frozenset[int]:  # noqa: D102
        ends = (self._begin_of(epoch + 1) - 1 for epoch in range(len(self._epochs)))
        smaller = {
            size
            for end in ends
            if (size := self.batch_size_at(end)) < self.stage_at(end).batch_size
        }
        return self._after.last_batch_sizes() | smaller

    def notes(self, micro_batch_size: int) -> tuple[Reason, ...]:  # noqa: D102
        return self._after.notes(micro_batch_size)

    def _stretch(self, step: int) -> _Stretch:
        place = bisect_right(self._stretches, step, key=lambda stretch: stretch.step)
        return self._stretches[place - 1]

    def _begin_of(self, epoch: int) -> int:
        since = epoch - len(self._epochs)
        return self._end.step + self._after.steps_in(since) if since >= 0 else self._epochs[epoch]

    @cached_property
    def _after(self) -> BatchPlan:
        """The plan after the counted epochs, with a constant batch size."""
        size = self.stages[-1].batch_size if self.stages else self.batch_size
        return BatchPlan(n_train=self.n_train, batch_size=size, drop_last=self.drop_last)

    @property
    def _end(self) -> _Stretch:
        return self._counted[2]

    @property
    def _epochs(self) -> tuple[int, ...]:
        """The step that begins each of the counted epochs."""
        return self._counted[1]

    @property
    def _stretches(self) -> tuple[_Stretch, ...]:
        return self._counted[0]

    @cached_property
    def _counted(self) -> tuple[tuple[_Stretch, ...], tuple[int, ...], _Stretch]:
        """The stretches and epochs before the batch size becomes constant, and that place."""
        found: list[_Stretch] = []
        epochs: list[int] = []
        step = samples = 0
        size, coming = self.batch_size, list(reversed(self.stages))
        while coming:
            epochs.append(step)
            left = self.n_train
            while left:
                while coming and coming[-1].from_samples <= samples:
                    size = coming.pop().batch_size
                n_steps = left // size
                if coming:
                    n_steps = min(n_steps, -(-(coming[-1].from_samples - samples) // size))
                if n_steps == 0 and self.drop_last:
                    break
                taken = n_steps * size or left
                found.append(_Stretch(step, samples, taken // (n_steps or 1)))
                step, samples, left = step + (n_steps or 1), samples + taken, left - taken
        return tuple(found), tuple(epochs), _Stretch(step, samples, size)
