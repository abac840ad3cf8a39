"""Profile: what each batch size costs in time and memory on one device, as it was measured.

The file has the record's name and not `profile`: `batchlab.profile` is the call that makes one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from batchlab.profiling.profile_point import (
    SIZES_FOR_LAW,
    ProfilePoint,
    Stopped,
    peaks_for_law,
    scatter_of,
)
from batchlab.records.estimate import Estimate
from batchlab.records.reason import Reason
from batchlab.records.shown import ShownInNotebook

if TYPE_CHECKING:
    from batchlab.laws.memory import MemoryFit
    from batchlab.laws.process_scatter import ProcessScatter
    from batchlab.laws.step_time import StepTimeFit

# The plateau begins where the throughput is within this share of the best.
_PLATEAU_FRACTION = 0.10


@dataclass(frozen=True, kw_only=True)  # without slots: a cached property needs a place
class Profile(ShownInNotebook):
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

    @cached_property
    def memory(self) -> MemoryFit:
        """The law M(B) = fixed + per example × B through the peaks of what ran in one piece.

        The full batch is left out where there are enough others: its examples are used where they
        lie and not gathered, so it takes less than the law says.
        """
        from batchlab.laws.memory import fit_memory

        return fit_memory(peaks_for_law(self.points, n_train=self.n_train))

    @cached_property
    def process_scatter(self) -> ProcessScatter | None:
        """How far one batch size's step times lie apart from process to process.

        None: no batch size was timed in several processes.
        """
        return scatter_of(self.points)

    @cached_property
    def step_time(self) -> StepTimeFit | None:
        """The law of seconds per step through what ran in one piece; None: fewer than 3 did.

        The full batch is left out where there are enough others, as in the law of memory: a step
        that gathers nothing takes less.
        """
        from batchlab.laws.step_time import fit_step_time  # it loads SciPy

        times = [(point.batch_size, self.timed_s(point)) for point in self._whole()]
        partial = [(size, time) for size, time in times if size < self.n_train]
        used = partial if len(partial) >= SIZES_FOR_LAW else times
        return fit_step_time(used) if len(used) >= SIZES_FOR_LAW else None

    @property
    def plateau_batch_size(self) -> int | None:
        """The smallest batch size within 10 % of the best throughput seen; None if none ran.

        Where it is the largest that ran, throughput may still grow beyond it.
        """
        known = {point.batch_size: self.step_s(point.batch_size) for point in self._whole()}
        speeds = {size: size / step_s.estimate for size, step_s in known.items() if step_s.estimate}
        if not speeds:
            return None
        enough = max(speeds.values()) / (1 + _PLATEAU_FRACTION)
        return min(size for size, speed in speeds.items() if speed >= enough)

    @property
    def evaluations_in_steps(self) -> Reason | None:
        """What to say where step times hold a script's evaluations too; None: they do not."""
        sizes = sorted({point.batch_size for point in self.points if point.with_evaluations})
        if not sizes:
            return None
        return Reason.of("steps_with_evaluations", sizes=", ".join(map(str, sizes)))

    @property
    def not_run_bytes(self) -> dict[int, Estimate]:
        """What the law of memory gives each batch size that has not run in one piece here.

        Sizes that ran have a measured peak, and are not in it.
        """
        measured = {
            p.batch_size for p in self.points if p.in_one_piece and p.peak_bytes is not None
        }
        sizes = sorted({point.batch_size for point in self.points} - measured)
        return {size: self.memory.predicted_bytes(size) for size in sizes}

    def best_micro_batch(self, batch_size: int) -> ProfilePoint | None:
        """The fastest way that `batch_size` ran, in one piece or accumulated; None: it did not."""
        ran = [
            point for point in self.points if point.batch_size == batch_size and self._fits(point)
        ]
        return min(ran, key=_median_s, default=None)

    def timed_s(self, point: ProfilePoint) -> Estimate:
        """Seconds per step of a point as it was timed, by its processes' blocks.

        The 95 % interval is of the mean over processes, with `process_scatter` where that was seen.
        """
        scatter = self.process_scatter
        if scatter is None or not point.timings:
            return point.step_s
        return scatter.of_size([timing.step_s for timing in point.timings], point.step_s)

    def told_s(self, point: ProfilePoint) -> Estimate:
        """`timed_s` as it is told: without an interval whose ends would tell nothing.

        Under load one process may take ten times as long as the next. By two of them the mean is
        anywhere from nanoseconds to days.
        """
        timed = self.timed_s(point)
        return replace(timed, low=None, high=None) if timed.is_too_wide else timed

    def step_s(self, batch_size: int) -> Estimate:
        """Seconds per step of `batch_size`, by the fastest way that it ran.

        Its own time and the law through all batch sizes are weighted
        (`StepTimeFit.measured_step_s`); an accumulated batch, and a full batch that the law leaves
        out, count as timed. Between two measured batch sizes the time and its interval lie on
        straight lines over logarithms.

        Args:
            batch_size: examples per step.

        Returns:
            The estimate, with the n of the less observed neighbour; outside the measured batch
            sizes the reason for none.
        """
        measured = sorted({point.batch_size for point in self.points if self._fits(point)})
        if not measured:
            return Estimate.cannot_tell(Reason.of("no_size_ran"))
        if not measured[0] <= batch_size <= measured[-1]:
            return Estimate.cannot_tell(
                Reason.of(
                    "outside_profile", size=batch_size, smallest=measured[0], largest=measured[-1]
                )
            )
        low = max(size for size in measured if size <= batch_size)
        high = min(size for size in measured if size >= batch_size)
        below, above = self._known_s(low), self._known_s(high)
        if low == high:
            return below
        return _between(below, above, math.log(batch_size / low) / math.log(high / low))

    def about_step_s(self, batch_size: int) -> float:
        """Seconds per step; beyond the measured batch sizes in proportion to the nearest one's.

        At least one batch size ran.
        """
        known = self.step_s(batch_size).estimate
        if known is not None:
            return known
        ran = [point for point in self.points if point.ran and point.timing is not None]
        nearest = min(ran, key=lambda point: abs(math.log(point.batch_size / batch_size)))
        assert nearest.timing is not None
        return nearest.timing.step_s * max(1.0, batch_size / nearest.batch_size)

    def _known_s(self, batch_size: int) -> Estimate:
        """Seconds per step of a batch size that ran."""
        point = self.best_micro_batch(batch_size)
        assert point is not None
        law = self.step_time if point.in_one_piece else None
        if law is None or batch_size not in law.batch_sizes:
            return self.timed_s(point)
        return law.measured_step_s(batch_size)

    def to_dict(self) -> dict[str, Any]:
        """The document that `batchlab profile --json` prints, as plain dicts, lists and numbers."""
        from batchlab.profiling.document import to_dict

        return to_dict(self)

    def to_json(self) -> str:
        """The document that `batchlab profile --json` prints; `from_json` reads it anywhere."""
        from batchlab.profiling.document import to_json

        return to_json(self)

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Profile:
        """The profile of which `to_dict` made `document`.

        Raises:
            ProfileError: it is no such document; the message names the field.
        """
        from batchlab.profiling.document import from_dict

        return from_dict(document, cls)

    @classmethod
    def from_json(cls, text: str | bytes) -> Profile:
        """The profile of which `to_json` made `text`, on this or another machine.

        Raises:
            ProfileError: it is no such document; the message names the field.
        """
        from batchlab.profiling.document import from_json

        return from_json(text, cls)

    def _whole(self) -> Iterator[ProfilePoint]:
        """What ran in one piece within the limit."""
        return (point for point in self.points if point.in_one_piece and self._fits(point))

    def _fits(self, point: ProfilePoint) -> bool:
        """Whether it ran within this profile's limit, which may not be the one it was made with."""
        if not point.ran or self.memory_limit_bytes is None:
            return point.ran
        return point.limited_bytes is not None and point.limited_bytes <= self.memory_limit_bytes


def _median_s(point: ProfilePoint) -> float:
    step_s = point.step_s.estimate
    assert step_s is not None
    return step_s


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
