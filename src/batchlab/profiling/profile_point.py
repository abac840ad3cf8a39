"""ProfilePoint: one batch size that was tried, with its time and memory, or why it did not run."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from batchlab.records.estimate import Estimate
from batchlab.records.reason import Reason
from batchlab.records.step_timing import StepTiming
from batchlab.records.trial import Status

if TYPE_CHECKING:
    from batchlab.laws.process_scatter import ProcessScatter

Stopped = Literal["memory", "time", "errors"]

# The smallest and the largest of n blocks hold the median with probability 1 - 2^(1 - n), whatever
# their distribution: from six blocks on that is at least 95 %.
_BLOCKS_FOR_ORDER = 6
# The halves of a quiet measurement differ by less.
_DRIFT_FRACTION = 0.05
SIZES_FOR_LAW = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class ProfilePoint:
    """One batch size that was tried: its time and memory, or why it did not run.

    Attributes:
        batch_size: examples per optimizer step.
        micro_batch_size: examples per forward and backward pass; below `batch_size`: accumulated.
        status: ok, oom, timeout, killed or error.
        reason: why it did not run; None where it did.
        timing: the raw blocks of steps; None where it did not run.
        again: the blocks of further processes; empty: it was timed once.
        peak_bytes: peak memory of its process above an idle one, None: not reported. One that
            ran beyond the memory limit has a peak and the status oom.
        gpu_peak_bytes: of a script, the most that it held on one GPU; None: none, or not known.
        with_evaluations: whether its times hold a script's evaluations too, which came with all of
            its progress.
    """

    batch_size: int
    micro_batch_size: int
    status: Status
    reason: Reason | None = None
    timing: StepTiming | None = None
    peak_bytes: int | None = None
    again: tuple[StepTiming, ...] = ()
    gpu_peak_bytes: int | None = None
    with_evaluations: bool = False

    @property
    def limited_bytes(self) -> int | None:
        """What a memory limit is for: the GPU's memory where a script used one; None: not known."""
        return self.peak_bytes if self.gpu_peak_bytes is None else self.gpu_peak_bytes

    @property
    def timings(self) -> tuple[StepTiming, ...]:
        """The timings there are, one of each process."""
        return () if self.timing is None else (self.timing, *self.again)

    @property
    def in_one_piece(self) -> bool:
        """Whether its batch was not accumulated."""
        return self.micro_batch_size == self.batch_size

    @property
    def ran(self) -> bool:
        """Whether it ran, and within the memory limit."""
        return self.status is Status.OK and self.timing is not None

    @property
    def accumulation_steps(self) -> int:
        """Forward and backward passes per optimizer step."""
        return -(-self.batch_size // self.micro_batch_size)

    @property
    def step_s(self) -> Estimate:
        """Median seconds per step over the blocks, with a 95 % interval from the blocks.

        From six blocks on, the interval lies between two of the ordered blocks, whatever their
        distribution (of fifteen, the fourth from either end). With two to five it is Student's on
        the blocks' logarithms; one block has no interval. Several processes give their geometric
        mean; for how far they lie apart see `Profile.timed_s`.
        """
        each = [_of_blocks(timing) for timing in self.timings]
        if not each:
            why = self.reason or Reason.of("ended_as", status=self.status.value)
            return Estimate.cannot_tell(
                Reason.of("size_did_not_run", size=self.batch_size, why=why)
            )
        return each[0] if len(each) == 1 else _geometric_mean(each)

    @property
    def samples_per_s(self) -> float | None:
        """Examples per second at the median step time; None where it did not run."""
        step_s = self.step_s.estimate
        return None if step_s is None else self.batch_size / step_s

    @property
    def drifted(self) -> bool | None:
        """Whether the second half of a process's blocks took another time than the first.

        That is: every block of one half is slower than every block of the other, and their medians
        lie more than 5 % apart. None: fewer than six blocks, too few to tell.
        """
        seen = [_drifted(timing) for timing in self.timings]
        return next((each for each in seen if each), next(iter(seen), None))


def _drifted(timing: StepTiming) -> bool | None:
    if len(timing.block_s) < _BLOCKS_FOR_ORDER:
        return None
    blocks = timing.block_s
    first, second = blocks[: len(blocks) // 2], blocks[-(len(blocks) // 2) :]
    apart = max(first) < min(second) or max(second) < min(first)
    ratio = statistics.median(second) / statistics.median(first)
    return apart and not 1 / (1 + _DRIFT_FRACTION) <= ratio <= 1 + _DRIFT_FRACTION


def _of_blocks(timing: StepTiming) -> Estimate:
    blocks = [block_s / timing.block_steps for block_s in timing.block_s]
    return Estimate.of(statistics.median(blocks), interval=_median_interval(blocks), n=len(blocks))


def _geometric_mean(times: Sequence[Estimate]) -> Estimate:
    """Of independent times, with the interval of their mean logarithm."""
    values = [time.estimate for time in times if time.estimate is not None]
    middle = statistics.geometric_mean(values)
    n = sum(time.n for time in times)
    below = [math.log(v / t.low) for v, t in zip(values, times, strict=True) if t.low is not None]
    above = [math.log(t.high / v) for v, t in zip(values, times, strict=True) if t.high is not None]
    if min(len(below), len(above)) < len(times):
        return Estimate.of(middle, interval=(None, None), n=n)
    down, up = (math.hypot(*sides) / len(times) for sides in (below, above))
    return Estimate.of(middle, interval=(middle * math.exp(-down), middle * math.exp(up)), n=n)


def _median_interval(blocks: list[float]) -> tuple[float | None, float | None]:
    if len(blocks) >= _BLOCKS_FOR_ORDER:
        rank = _rank(len(blocks))
        ordered = sorted(blocks)
        return ordered[rank], ordered[-1 - rank]
    from batchlab.laws.statistics import mean_interval  # it loads SciPy

    log_s = mean_interval([math.log(block) for block in blocks])
    if log_s.low is None or log_s.high is None:
        return None, None
    return math.exp(log_s.low), math.exp(log_s.high)


def _rank(n: int) -> int:
    """The largest k for which the k-th blocks from both ends hold the median 95 times in 100."""
    outside, rank = 0.0, -1
    while True:
        outside += 2 * math.comb(n, rank + 1) / 2**n
        if outside > 0.05:
            return rank
        rank += 1


def scatter_of(points: Iterable[ProfilePoint]) -> ProcessScatter | None:
    """How far the processes of one batch size lie apart; None: none was timed in several."""
    from batchlab.laws.process_scatter import ProcessScatter  # it loads SciPy

    return ProcessScatter.of(
        [timing.step_s for timing in point.timings] for point in points if point.ran
    )


def peaks_for_law(points: Iterable[ProfilePoint], *, n_train: int) -> list[tuple[int, int]]:
    """The batch sizes and peaks in bytes that a memory law goes through."""
    peaks = [
        (point.batch_size, point.peak_bytes)
        for point in points
        if point.in_one_piece and point.timing is not None and point.peak_bytes is not None
    ]
    partial = [(size, peak_bytes) for size, peak_bytes in peaks if size < n_train]
    return partial if len(partial) >= SIZES_FOR_LAW else peaks
