"""BatchPlan: how many examples each optimizer step of a run sees, and what follows from that."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from batchlab.records.estimate import Reason


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """The batch size of every step of a run: the same, but for the last one of an epoch.

    Steps and epochs count from 0. Batches are cut from one epoch's examples after the other, and
    none crosses an epoch's end: the last batch of an epoch has what is left, or is left out. So an
    epoch has a whole number of steps. Everything that turns steps into samples or epochs, and
    back, asks the trial's plan, by these methods alone: so it may have another plan of its own.

    Attributes:
        n_train: examples in the training set, N.
        batch_size: examples per step, 1 to N.
        drop_last: whether a smaller last batch of an epoch is left out.
    """

    n_train: int
    batch_size: int
    drop_last: bool

    def batch_size_at(self, step: int) -> int:
        """Examples that step `step` sees, known without looking at the batch."""
        before = step % self._steps_per_epoch * self.batch_size
        return min(self.batch_size, self.n_train - before)

    def samples_at(self, step: int) -> int:
        """Examples processed in the first `step` steps."""
        epochs, steps = divmod(step, self._steps_per_epoch)
        return epochs * self._samples_per_epoch + steps * self.batch_size

    def step_at(self, samples: float) -> int:
        """The steps of the shortest run that has processed at least so many examples."""
        epochs = int(samples // self._samples_per_epoch)
        whole, rest = divmod(samples - epochs * self._samples_per_epoch, self.batch_size)
        return epochs * self._steps_per_epoch + int(whole) + (rest > 0)

    def epoch_at(self, step: int) -> float:
        """Passes over the training set in the first `step` steps; whole only at epoch ends."""
        return step / self._steps_per_epoch

    def steps_in(self, epochs: float) -> int:
        """The steps of the shortest run that has done at least so many epochs.

        For a whole number that is also the step which begins the next epoch.
        """
        return math.ceil(epochs * self._steps_per_epoch)

    def position(self, step: int) -> tuple[int, int]:
        """The epoch that step `step` belongs to, and the steps of that epoch before it."""
        return divmod(step, self._steps_per_epoch)

    def notes(self, micro_batch_size: int) -> tuple[Reason, ...]:
        """What a reader must know about the last batches and about accumulation."""
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

    # Kept, not computed anew: the stepper asks for the batch size of every single step.
    @cached_property
    def _steps_per_epoch(self) -> int:
        whole, rest = divmod(self.n_train, self.batch_size)
        return whole if self.drop_last or rest == 0 else whole + 1

    @cached_property
    def _samples_per_epoch(self) -> int:
        """Fewer than N where a smaller last batch is left out."""
        return min(self.n_train, self._steps_per_epoch * self.batch_size)
