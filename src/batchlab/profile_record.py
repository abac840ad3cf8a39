"""Profile: what each batch size costs in time and memory on one device, as it was measured.

The file has the record's name and not `profile`: `batchlab.profile` is the call that makes one.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from batchlab.estimate import Estimate
from batchlab.timing import StepTiming
from batchlab.trial import Status

if TYPE_CHECKING:
    from batchlab.laws.memory import MemoryFit
    from batchlab.laws.step_time import StepTimeFit

Stopped = Literal["memory", "time", "errors"]

# The smallest and the largest of n blocks hold the median with probability 1 - 2^(1 - n): from six
# blocks on that is at least 95 % whatever the distribution is.
_BLOCKS_FOR_ORDER = 6
# A drift that matters: beyond what two halves of a quiet measurement differ by.
_DRIFT_FRACTION = 0.05
# Beyond the smallest batch size within so much of the best throughput, larger ones gain little.
_PLATEAU_FRACTION = 0.10
_SIZES_FOR_LAW = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class ProfilePoint:
    """One batch size that was tried: its time and memory, or why it did not run.

    Attributes:
        batch_size: examples per optimizer step.
        micro_batch_size: examples per forward and backward pass; below `batch_size`: accumulated.
        status: ok, oom, timeout, killed or error.
        reason: one line that says why it did not run; None where it did.
        timing: the raw blocks of steps; None where it did not run.
        peak_bytes: peak memory of its process above an idle one, None: not reported. One that
            ran beyond the memory limit has a peak and the status oom.
    """

    batch_size: int
    micro_batch_size: int
    status: Status
    reason: str | None = None
    timing: StepTiming | None = None
    peak_bytes: int | None = None

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
        distribution is (of fifteen, the fourth from either end). With two to five it is Student's
        on the blocks' logarithms; one block has no interval.
        """
        if self.timing is None:
            return Estimate.cannot_tell(
                f"batch size {self.batch_size} did not run: {self.reason or self.status}"
            )
        blocks = [block_s / self.timing.block_steps for block_s in self.timing.block_s]
        return Estimate.of(
            statistics.median(blocks), interval=_median_interval(blocks), n=len(blocks)
        )

    @property
    def samples_per_s(self) -> float | None:
        """Examples per second at the median step time; None where it did not run."""
        return None if self.timing is None else self.timing.samples_per_s

    @property
    def drifted(self) -> bool | None:
        """Whether the second half of the blocks took another time than the first.

        That is: every block of one half is slower than every block of the other, and their medians
        lie more than 5 % apart. None: fewer than six blocks, too few to tell.
        """
        if self.timing is None or len(self.timing.block_s) < _BLOCKS_FOR_ORDER:
            return None
        blocks = self.timing.block_s
        first, second = blocks[: len(blocks) // 2], blocks[-(len(blocks) // 2) :]
        apart = max(first) < min(second) or max(second) < min(first)
        ratio = statistics.median(second) / statistics.median(first)
        return apart and not 1 / (1 + _DRIFT_FRACTION) <= ratio <= 1 + _DRIFT_FRACTION


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """What each batch size costs on one device: step time and memory, as measured.

    Attributes:
        workload_id: identity of the workload's source, settings and data.
        workload: its name.
        n_train: examples in its training set; no batch size is above it.
        reference_batch_size: the batch size that the workload itself names.
        device: "cpu" or "cuda".
        device_name: the processor's or the GPU's model.
        memory_limit_bytes: the limit that was asked for, None: the device's own.
        environment: versions, processor, cores, system of the machine it was made on.
        created_at: when, UTC, ISO 8601.
        points: every batch size that was tried, by batch size, larger micro-batches first.
        stopped: why not all batch sizes were tried: "memory" (larger ones do not fit), "time" (the
            budget ended), "errors" (several in a row did not run); None: all were.
    """

    workload_id: str
    workload: str
    n_train: int
    reference_batch_size: int
    device: str
    device_name: str
    memory_limit_bytes: int | None
    environment: tuple[tuple[str, str], ...]
    created_at: str
    points: tuple[ProfilePoint, ...]
    stopped: Stopped | None = None

    @property
    def largest_batch_size(self) -> int | None:
        """The largest batch size that ran in one piece within the limit; None if none did."""
        return max((point.batch_size for point in self._whole()), default=None)

    @property
    def memory(self) -> MemoryFit:
        """The law M(B) = fixed + per example × B through the peaks of what ran in one piece.

        The full batch is left out where others tell enough: its examples are used where they lie
        and not gathered, so it takes less than the law says.
        """
        from batchlab.laws.memory import fit_memory

        return fit_memory(peaks_for_law(self.points, n_train=self.n_train))

    @property
    def step_time(self) -> StepTimeFit | None:
        """The law of seconds per step through what ran in one piece; None: fewer than 3 did.

        The full batch is left out where others tell enough, as from the law of memory: a step that
        gathers nothing takes less.
        """
        from batchlab.laws.step_time import fit_step_time

        times = [(point.batch_size, point.step_s) for point in self._whole()]
        partial = [(size, time) for size, time in times if size < self.n_train]
        used = partial if len(partial) >= _SIZES_FOR_LAW else times
        return fit_step_time(used) if len(used) >= _SIZES_FOR_LAW else None

    @property
    def plateau_batch_size(self) -> int | None:
        """The smallest batch size within 10 % of the best throughput seen; None if none ran.

        Where it is the largest that ran, throughput may still grow beyond it.
        """
        speeds = {
            point.batch_size: point.samples_per_s
            for point in self._whole()
            if point.samples_per_s is not None
        }
        if not speeds:
            return None
        enough = max(speeds.values()) / (1 + _PLATEAU_FRACTION)
        return min(size for size, speed in speeds.items() if speed >= enough)

    def best_micro_batch(self, batch_size: int) -> ProfilePoint | None:
        """The fastest way that `batch_size` ran, in one piece or accumulated; None: it did not."""
        ran = [
            point for point in self.points if point.batch_size == batch_size and self._fits(point)
        ]
        return min(ran, key=_median_s, default=None)

    def step_s(self, batch_size: int) -> Estimate:
        """Seconds per step of `batch_size`, by the fastest way that it ran.

        Between two measured batch sizes the logarithm of the time is taken on a straight line over
        the logarithm of the batch size, and so are the ends of the interval.

        Args:
            batch_size: examples per step.

        Returns:
            The estimate, from as many blocks as the less observed neighbour has; outside the
            measured batch sizes it can't be told.
        """
        measured = sorted({point.batch_size for point in self.points if self._fits(point)})
        if not measured:
            return Estimate.cannot_tell("no batch size of the profile ran")
        if not measured[0] <= batch_size <= measured[-1]:
            return Estimate.cannot_tell(
                f"batch size {batch_size} lies outside the measured {measured[0]} to "
                f"{measured[-1]}; profile it"
            )
        low = max(size for size in measured if size <= batch_size)
        high = min(size for size in measured if size >= batch_size)
        below, above = self.best_micro_batch(low), self.best_micro_batch(high)
        assert below is not None
        assert above is not None
        if low == high:
            return below.step_s
        share = math.log(batch_size / low) / math.log(high / low)
        return _between(below.step_s, above.step_s, share)

    def to_dict(self) -> dict[str, Any]:
        """The document that `batchlab profile --json` prints, as plain dicts, lists and numbers."""
        from batchlab.profile_document import to_dict

        return to_dict(self)

    def to_json(self) -> str:
        """The document that `batchlab profile --json` prints; `from_json` reads it anywhere."""
        from batchlab.profile_document import to_json

        return to_json(self)

    def _repr_html_(self) -> str:
        """The profile as a notebook shows it."""
        from batchlab.notebook import notebook_html

        return notebook_html(self)

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Profile:
        """The profile of which `to_dict` made `document`.

        Raises:
            ProfileError: it is no such document; the message names the field.
        """
        from batchlab.profile_document import from_dict

        return from_dict(document)

    @classmethod
    def from_json(cls, text: str | bytes) -> Profile:
        """The profile of which `to_json` made `text`, on this or another machine.

        Raises:
            ProfileError: it is no such document; the message names the field.
        """
        from batchlab.profile_document import from_json

        return from_json(text)

    def _whole(self) -> Iterator[ProfilePoint]:
        """What ran in one piece within the limit."""
        return (point for point in self.points if _is_whole(point) and self._fits(point))

    def _fits(self, point: ProfilePoint) -> bool:
        """Asked of the peak again: a profile may be given another limit than it was made with."""
        if not point.ran or self.memory_limit_bytes is None:
            return point.ran
        return point.peak_bytes is not None and point.peak_bytes <= self.memory_limit_bytes


def peaks_for_law(points: Iterable[ProfilePoint], *, n_train: int) -> list[tuple[int, int]]:
    """The batch sizes and peaks in bytes that a memory law goes through."""
    peaks = [
        (point.batch_size, point.peak_bytes)
        for point in points
        if _is_whole(point) and point.timing is not None and point.peak_bytes is not None
    ]
    partial = [(size, peak_bytes) for size, peak_bytes in peaks if size < n_train]
    return partial if len(partial) >= _SIZES_FOR_LAW else peaks


def _is_whole(point: ProfilePoint) -> bool:
    return point.micro_batch_size == point.batch_size


def _median_s(point: ProfilePoint) -> float:
    assert point.timing is not None
    return point.timing.step_s


def _between(below: Estimate, above: Estimate, share: float) -> Estimate:
    assert below.estimate is not None
    assert above.estimate is not None
    return Estimate.of(
        _log_between(below.estimate, above.estimate, share),
        interval=(
            _bound_between(below.low, above.low, share),
            _bound_between(below.high, above.high, share),
        ),
        n=min(below.n, above.n),
    )


def _bound_between(below: float | None, above: float | None, share: float) -> float | None:
    return None if below is None or above is None else _log_between(below, above, share)


def _log_between(below: float, above: float, share: float) -> float:
    return math.exp((1 - share) * math.log(below) + share * math.log(above))
