"""ProcessScatter: how far the step times of one batch size lie apart from process to process."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scipy.special import chdtri, stdtrit

from batchlab.estimate import Estimate

__all__ = ["ProcessScatter"]

# The share of the observations that a standard deviation by a median makes use of (of a normal's
# absolute value; more where there are more than two processes).
_EFFICIENCY = 0.37


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessScatter:
    """Standard deviation of a process's log step time around the batch size's own.

    The blocks of one process do not show it: where its memory lies, which core feeds the device
    and what else the machine does stay the same for all of them.

    Attributes:
        log_sd: of one process.
        degrees: degrees of freedom of it.
    """

    log_sd: float
    degrees: float

    @classmethod
    def of(cls, times_s: Iterable[Sequence[float]]) -> ProcessScatter | None:
        """The usual scatter, a median over the batch sizes: a few unsteady ones do not make it.

        Args:
            times_s: seconds a step in each process, for each batch size.

        Returns:
            None where no batch size was timed in two processes.
        """
        repeated = [times for times in times_s if len(times) > 1]
        if not repeated:
            return None
        # A sum of squares by its median is one by its mean: chi squared with n - 1 degrees.
        variances = [_square(times) / float(chdtri(len(times) - 1, 0.5)) for times in repeated]
        return cls(
            log_sd=math.sqrt(statistics.median(variances)),
            degrees=max(1.0, _EFFICIENCY * sum(len(times) - 1 for times in repeated)),
        )

    def half_width(self, n: int) -> float:
        """Of the usual 95 % interval of a log step time from `n` processes."""
        return float(stdtrit(self.degrees, 0.975)) * self.log_sd / math.sqrt(n)

    def of_size(self, processes_s: Sequence[float], blocks: Estimate) -> Estimate:
        """The step time of one batch size, with an interval for further processes.

        Its own scatter counts by its degrees of freedom beside the usual one. The interval is never
        narrower than the blocks' own.

        Args:
            processes_s: seconds a step in each process, at least one.
            blocks: the same by the blocks alone; its estimate stays.
        Source: Smyth 2004, "Linear models and empirical Bayes methods", for the moderated variance.
        """
        assert blocks.estimate is not None
        n = len(processes_s)
        degrees = self.degrees + n - 1
        square = self.degrees * self.log_sd**2 + _square(processes_s)
        moderated = ProcessScatter(log_sd=math.sqrt(square / degrees), degrees=degrees)
        half = moderated.half_width(n)
        low, high = (blocks.estimate * math.exp(side * half) for side in (-1, 1))
        return Estimate.of(
            blocks.estimate,
            interval=(
                low if blocks.low is None else min(low, blocks.low),
                high if blocks.high is None else max(high, blocks.high),
            ),
            n=n,
        )


def _square(times_s: Sequence[float]) -> float:
    """Sum of squares of the logarithms around their mean."""
    logs = [math.log(step_s) for step_s in times_s]
    mean = sum(logs) / len(logs)
    return sum((value - mean) ** 2 for value in logs)
