"""ProcessScatter: how far the step times of one batch size lie apart from process to process."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from scipy.special import chdtri, stdtrit

from batchlab.records.estimate import Estimate

__all__ = ["ProcessScatter"]

# The efficiency of a standard deviation by a median of many normal deviations; of few it is higher.
_EFFICIENCY = 0.37


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessScatter:
    """Standard deviation of a process's log step time around the batch size's own.

    The blocks of one process do not show it: they share their place in memory, the core that feeds
    the device, and what else the machine does.

    Attributes:
        log_sd: standard deviation of one process.
        degrees: its degrees of freedom.
        n_sizes: batch sizes that were timed in several processes.
    """

    log_sd: float
    degrees: float
    n_sizes: int

    @classmethod
    def of(cls, times_s: Iterable[Sequence[float]]) -> ProcessScatter | None:
        """The usual scatter: a median over the batch sizes, so a few unsteady ones count little.

        Args:
            times_s: seconds a step in each process, for each batch size.

        Returns:
            None where no batch size was timed in two processes.
        """
        repeated = [times for times in times_s if len(times) > 1]
        if not repeated:
            return None
        if len(repeated) == 1:
            degrees = len(repeated[0]) - 1
            log_sd = math.sqrt(_square(repeated[0]) / degrees)
            return cls(log_sd=log_sd, degrees=degrees, n_sizes=1)
        # A sum of squares by its median is one by its mean: chi squared with n - 1 degrees.
        variances = [_square(times) / float(chdtri(len(times) - 1, 0.5)) for times in repeated]
        efficiency = _EFFICIENCY + (1 - _EFFICIENCY) / len(repeated)
        return cls(
            log_sd=math.sqrt(statistics.median(variances)),
            degrees=efficiency * sum(len(times) - 1 for times in repeated),
            n_sizes=len(repeated),
        )

    def half_width(self, n: int) -> float:
        """Half the width of the usual 95 % interval of a log step time from `n` processes."""
        return float(stdtrit(self.degrees, 0.975)) * self.log_sd / math.sqrt(n)

    def of_size(self, processes_s: Sequence[float], blocks: Estimate) -> Estimate:
        """The step time of one batch size: its mean over processes with an interval.

        Its own scatter and the usual one count by their degrees of freedom: where one batch size
        alone scatters far more than the others, the interval is too narrow. It is never narrower
        than the blocks' own.

        Args:
            processes_s: seconds a step in each process, at least one.
            blocks: the step time by the blocks alone; its estimate stays.
        Source: after Smyth 2004, "Linear models and empirical Bayes methods": moderated variances.
        """
        assert blocks.estimate is not None
        n = len(processes_s)
        half = self._with_own(_square(processes_s), n - 1).half_width(n)
        low, high = (blocks.estimate * math.exp(side * half) for side in (-1, 1))
        return Estimate.of(
            blocks.estimate,
            interval=(
                low if blocks.low is None else min(low, blocks.low),
                high if blocks.high is None else max(high, blocks.high),
            ),
            n=n,
        )

    def _with_own(self, square: float, degrees: int) -> ProcessScatter:
        """The usual scatter moderated by a batch size's own sum of squares."""
        if degrees == 0 or self.n_sizes == 1:  # alone it is in the usual one already
            return self
        together = self.degrees + degrees
        moderated = math.sqrt((self.degrees * self.log_sd**2 + square) / together)
        return replace(self, log_sd=moderated, degrees=together)


def _square(times_s: Sequence[float]) -> float:
    """Sum of squares of the logarithms around their mean."""
    logs = [math.log(step_s) for step_s in times_s]
    mean = sum(logs) / len(logs)
    return sum((value - mean) ** 2 for value in logs)
