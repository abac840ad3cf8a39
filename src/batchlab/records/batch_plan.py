"""BatchPlan: the batch size of each step, and conversions between steps, samples and epochs."""

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
    """A part of a run with one batch size and one learning-rate factor.

    Attributes:
        from_samples: the stage starts as soon as the run has processed this many examples.
        batch_size: examples per step, from 1 to the size of the training set.
        rate_factor: the factor by which the run's learning rate is multiplied.
    """

    from_samples: int
    batch_size: int
    rate_factor: float = 1.0


class _Stretch(NamedTuple):
    """Consecutive steps with the same batch size; only the last stretch spans several epochs."""

    step: int  # The index of the stretch's first step.
    samples: int  # Examples processed before the stretch's first step.
    batch_size: int


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """The batch size of every step of a run, and the conversions of steps, samples and epochs.

    Steps and epochs are numbered from 0. Each epoch's examples are cut into batches, and no batch
    crosses the end of an epoch: the last batch contains the remaining examples, or is left out. An
    epoch therefore has a whole number of steps. All conversions between steps, samples and epochs
    use the methods of this class.

    Up to the end of the epoch in which the last stage starts, the steps are stored as stretches of
    equal batch size. After that epoch (or from step 0 on, without stages), the batch size is
    constant, so steps are computed by division.

    Attributes:
        n_train: examples in the training set.
        batch_size: examples per step at the start of the run, from 1 to `n_train`.
        drop_last: whether a smaller last batch of an epoch is left out.
        stages: the stages after the first, by ascending `from_samples`, all above 0.
    """

    n_train: int
    batch_size: int
    drop_last: bool
    stages: tuple[Stage, ...] = ()

    def batch_size_at(self, step: int) -> int:
        """Return the number of examples of step `step`, without loading the batch."""
        stretch = self._stretch(step)
        if stretch is not self._end:
            return stretch.batch_size
        size, since = stretch.batch_size, step - stretch.step
        return min(size, self.n_train - since % self._steps_per_epoch * size)

    def stage_at(self, step: int) -> Stage:
        """Return the stage of step `step`, with its batch size and its learning-rate factor."""
        place = bisect_right(self.stages, self.samples_at(step), key=lambda s: s.from_samples)
        first = Stage(from_samples=0, batch_size=self.batch_size)
        return self.stages[place - 1] if place else first

    def samples_at(self, step: int) -> int:
        """Return the number of examples processed in the first `step` steps."""
        stretch = self._stretch(step)
        epochs, steps = 0, step - stretch.step
        if stretch is self._end:
            epochs, steps = divmod(steps, self._steps_per_epoch)
        return stretch.samples + epochs * self._samples_per_epoch + steps * stretch.batch_size

    def step_at(self, samples: float) -> int:
        """Return the least number of steps that process at least `samples` examples."""
        stretches, _ = self._counted
        place = bisect_right(stretches, samples, key=lambda stretch: stretch.samples)
        stretch = stretches[place - 1]
        since, epochs = samples - stretch.samples, 0
        if stretch is self._end:
            epochs = int(since // self._samples_per_epoch)
            since -= epochs * self._samples_per_epoch
        whole, rest = divmod(since, stretch.batch_size)
        return stretch.step + epochs * self._steps_per_epoch + int(whole) + (rest > 0)

    def epoch_at(self, step: int) -> float:
        """Return the number of epochs done after `step` steps; a started epoch adds a fraction.

        The fraction is the share of that epoch's steps that are done. If the plan has stages, the
        fraction is the share of that epoch's examples that are processed.
        """
        epoch, since = self.position(step)
        if since == 0:
            return float(epoch)
        if not self.stages:
            return step / self._steps_per_epoch
        begin, end = self._samples_of(epoch)
        return epoch + (self.samples_at(step) - begin) / (end - begin)

    def steps_in(self, epochs: float) -> int:
        """Return the least number of steps after which at least `epochs` epochs are done.

        If `epochs` is a whole number, the result is also the index of the next epoch's first step.
        """
        if not self.stages:
            return math.ceil(epochs * self._steps_per_epoch)
        whole = int(epochs)
        begin, end = self._samples_of(whole)
        # Round to 6 decimals, because a tiny floating-point error could add a step.
        return self.step_at(begin + round((epochs - whole) * (end - begin), 6))

    @property
    def samples_per_step(self) -> float:
        """The mean number of examples of a step over the first epoch."""
        steps = self.steps_in(1)
        return self.samples_at(steps) / steps

    def position(self, step: int) -> tuple[int, int]:
        """Return the epoch that contains step `step`, and the step's index within the epoch."""
        _, epochs = self._counted
        since = step - self._end.step
        if since < 0:
            epoch = bisect_right(epochs, step) - 1
            return epoch, step - epochs[epoch]
        epoch, steps = divmod(since, self._steps_per_epoch)
        return len(epochs) + epoch, steps

    def train_s_at(self, step: int, step_s: Mapping[int, float]) -> float:
        """Return the total seconds of the first `step` steps.

        `step_s` contains the seconds of one step at each batch size. The smaller last batch of an
        epoch is assumed to take as long as a full batch.
        """
        begins = [0, *(self.step_at(stage.from_samples) for stage in self.stages), step]
        sizes = [self.batch_size, *(stage.batch_size for stage in self.stages)]
        seconds = []
        for size, (begin, end) in zip(sizes, pairwise(begins), strict=True):
            seconds.append((min(step, end) - min(step, begin)) * step_s[size])
        return math.fsum(seconds)

    def last_batch_sizes(self) -> frozenset[int]:
        """Return the sizes of all last batches of epochs that are smaller than a full batch."""
        sizes = set()
        # Epochs after the last change of batch size have the same batches, so check only the first.
        _, epochs = self._counted
        for epoch in range(len(epochs) + 1):
            last_step = self._begin_of(epoch + 1) - 1
            size = self.batch_size_at(last_step)
            if size < self.stage_at(last_step).batch_size:
                sizes.add(size)
        return frozenset(sizes)

    def notes(self, micro_batch_size: int) -> tuple[Reason, ...]:
        """Return notes on smaller or omitted last batches and on gradient accumulation."""
        notes = []
        rest = self.n_train % self._end.batch_size
        if rest:
            code = "examples_left_out" if self.drop_last else "last_batch_smaller"
            notes.append(Reason.of(code, rest=rest))
        passes = -(-self._end.batch_size // micro_batch_size)
        if passes > 1:
            notes.append(Reason.of("steps_accumulate", passes=passes, size=micro_batch_size))
        return tuple(notes)

    def _stretch(self, step: int) -> _Stretch:
        if step >= self._end.step:
            return self._end
        stretches, _ = self._counted
        return stretches[bisect_right(stretches, step, key=lambda stretch: stretch.step) - 1]

    def _begin_of(self, epoch: int) -> int:
        _, epochs = self._counted
        since = epoch - len(epochs)
        if since < 0:
            return epochs[epoch]
        return self._end.step + since * self._steps_per_epoch

    def _samples_of(self, epoch: int) -> tuple[int, int]:
        """Return the number of examples processed when an epoch starts, and when it ends."""
        return self.samples_at(self._begin_of(epoch)), self.samples_at(self._begin_of(epoch + 1))

    # The following properties are cached, because `batch_size_at` is called at every step.
    @cached_property
    def _steps_per_epoch(self) -> int:
        """The number of steps of an epoch at the final, constant batch size."""
        whole, rest = divmod(self.n_train, self._end.batch_size)
        if self.drop_last or rest == 0:
            return whole
        return whole + 1

    @cached_property
    def _samples_per_epoch(self) -> int:
        """The examples processed per epoch at the final batch size; `drop_last` may omit some."""
        return min(self.n_train, self._steps_per_epoch * self._end.batch_size)

    @cached_property
    def _end(self) -> _Stretch:
        """The last stretch of steps; its batch size never changes again."""
        return self._counted[0][-1]

    @cached_property
    def _counted(self) -> tuple[tuple[_Stretch, ...], tuple[int, ...]]:
        """All stretches (steps of equal batch size), and the first step of each early epoch.

        Early epochs start before the last stretch, which never ends: its batch size is constant.
        """
        stretches: list[_Stretch] = []
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
                batch_size = size
                if n_steps == 0:  # only a smaller last batch of the epoch is left
                    if self.drop_last:
                        break
                    n_steps, batch_size = 1, left
                stretches.append(_Stretch(step, samples, batch_size))
                step += n_steps
                samples += n_steps * batch_size
                left -= n_steps * batch_size
        stretches.append(_Stretch(step, samples, size))
        return tuple(stretches), tuple(epochs)
