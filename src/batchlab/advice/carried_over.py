"""CarriedOver: what the steps of one batch size leave for another, as far as the runs allow.

Two rules bound a batch size that was not run: a larger batch needs no more steps, and no fewer
examples. Neither is certain, so runs that reject a rule take its bounds away.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from batchlab.advice.scatter import pooled_sd
from batchlab.laws.monotone import MonotoneTest, monotone_test
from batchlab.records.reason import Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class CarriedOver:
    """The two rules, and which of them the runs reject.

    Attributes:
        rejected: the batch sizes that reject a rule.
    """

    rejected: MonotoneTest

    @classmethod
    def by(cls, steps: Mapping[int, Sequence[float]], *, delta: float) -> CarriedOver:
        """The rules, tested with the steps of each batch size's runs.

        Args:
            steps: those of the runs by batch size, at least one each.
            delta: a rule that is off by no more than this fraction still bounds.
        """
        sizes = sorted(steps)
        logs = [[math.log(value) for value in steps[size]] for size in sizes]
        # Without a repeat nothing tells scatter from a rejected rule.
        if all(len(values) < 2 for values in logs):
            return cls(rejected=MonotoneTest())
        sd, degrees = pooled_sd(logs)
        return cls(
            rejected=monotone_test(
                np.array(sizes, dtype=float),
                np.array([sum(values) / len(values) for values in logs]),
                np.array([sd**2 / len(values) for values in logs]),
                degrees,
                tolerance=math.log1p(delta),
            )
        )

    def caveats(self) -> list[Reason]:
        """A reason for each rule that the runs reject."""
        rise, fall = self.rejected.steps_rise, self.rejected.samples_fall
        found = []
        if rise is not None:
            found.append(Reason.of("steps_rise", smaller=rise[0], larger=rise[1]))
        if fall is not None:
            found.append(Reason.of("samples_fall", smaller=fall[0], larger=fall[1]))
        return found

    def least_log_steps(self, log_steps: float, size: int, batch_size: int) -> float:
        """The least log steps of `batch_size` if `size` needs so many; -inf: nothing bounds it."""
        rejected = self.rejected
        if batch_size < size:
            return log_steps if rejected.steps_rise is None else -math.inf
        if batch_size > size and rejected.samples_fall is not None:
            return -math.inf
        return log_steps - math.log(batch_size / size)

    def most_steps(self, steps: float, size: int, batch_size: int) -> float:
        """The most steps of `batch_size` if `size` needs so many; inf: nothing bounds them."""
        rejected = self.rejected
        if batch_size > size:
            return steps if rejected.steps_rise is None else math.inf
        if batch_size < size and rejected.samples_fall is not None:
            return math.inf
        return steps * size / batch_size

    def log_steps_not_met(self, missed_at: Mapping[int, int], batch_size: int) -> float:
        """Log steps in which `batch_size` can't meet a target, -inf: any may do.

        Args:
            missed_at: the steps in which other batch sizes missed it.
            batch_size: examples per step.
        """
        bounds = [
            self.least_log_steps(math.log(steps), size, batch_size)
            for size, steps in missed_at.items()
            if steps > 0  # none: a run that the engine does not have
        ]
        return max(bounds, default=-math.inf)
