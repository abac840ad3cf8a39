"""Profile: step time and peak memory of each batch size on one device, as a document."""

from __future__ import annotations

import math
import statistics
from bisect import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import attrgetter
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np

from batchlab.errors import BatchlabError
from batchlab.laws.lines import SIZES_FOR_LAW, MemoryFit, fit_memory, points_for_law
from batchlab.laws.step_time import ProcessScatter, StepTimeFit, fit_step_time
from batchlab.measure.blocks import geometric_mean, median_of_blocks
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.shown import ShownInNotebook
from batchlab.records.study import Count, StepTiming
from batchlab.records.trial import Status
from batchlab.version import __version__
from batchlab.words.document import SCHEMA, json_text, plain, reason_of

Stopped = Literal["memory", "time", "errors"]
Bytes = Annotated[int, msgspec.Meta(ge=0)]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProfilePoint:
    """One batch size that was tried: its time and memory, or why it did not run.

    Attributes:
        batch_size: examples per optimizer step.
        micro_batch_size: examples per forward and backward pass; below `batch_size` if accumulated.
        status: ok, oom, timeout, killed or error.
        reason: why this batch size did not run or could not be timed; None if it was timed.
        timing: the times of blocks of steps in the first process; None if not timed.
        again: the timings of further processes; empty if timed only once.
        peak_bytes: peak memory of the process above that of an idle process; None if unknown. A
            point that ran but exceeded the memory limit has a peak and the status oom.
        gpu_peak_bytes: the peak memory that a script used on one GPU; None if zero or unknown.
        with_evaluations: whether the times include a script's evaluations, because the script
            evaluated before every line of its progress.
        at_most_step_s: the whole duration of a script / its number of steps, which is an upper
            bound of the step time; None unless the script ran but could not be timed.
    """

    batch_size: Count
    micro_batch_size: Count
    status: Status
    reason: Reason | None = None
    timing: StepTiming | None = None
    peak_bytes: Bytes | None = None
    again: tuple[StepTiming, ...] = ()
    gpu_peak_bytes: Bytes | None = None
    with_evaluations: bool = False
    at_most_step_s: float | None = None

    document = (
        *("batch_size", "micro_batch_size", "status", "reason", "timing", "peak_bytes", "again"),
        *("gpu_peak_bytes", "with_evaluations", "at_most_step_s", "accumulation_steps"),
        *("threads", "step_s", "samples_per_s"),
    )

    @property
    def threads(self) -> int | None:
        """The number of threads that PyTorch used; None if the point was not timed."""
        return None if self.timing is None else self.timing.threads

    @property
    def limited_bytes(self) -> int | None:
        """The peak to compare with the memory limit: of the GPU if known, else of the process."""
        return self.peak_bytes if self.gpu_peak_bytes is None else self.gpu_peak_bytes

    @property
    def timings(self) -> tuple[StepTiming, ...]:
        """The timings, one for each process; empty if the point was not timed."""
        return () if self.timing is None else (self.timing, *self.again)

    @property
    def processes_s(self) -> list[float]:
        """The median seconds per step of each process."""
        return [timing.step_s for timing in self.timings]

    @property
    def shape(self) -> tuple[int, int]:
        """The batch size and the micro-batch size."""
        return self.batch_size, self.micro_batch_size

    @property
    def in_one_piece(self) -> bool:
        """Whether the batch was computed in one pass, without gradient accumulation."""
        return self.micro_batch_size == self.batch_size

    @property
    def ran(self) -> bool:
        """Whether this batch size ran within the memory limit and was timed."""
        return self.status is Status.OK and self.timing is not None

    @property
    def is_untimed(self) -> bool:
        """Whether this batch size ran within the memory limit, but could not be timed."""
        return self.status is Status.OK and self.timing is None

    @property
    def accumulation_steps(self) -> int:
        """The number of forward and backward passes per optimizer step."""
        return -(-self.batch_size // self.micro_batch_size)

    @property
    def step_s(self) -> Estimate:
        """The median seconds per step over the blocks, with a 95 % interval.

        With six or more blocks, the bounds are two of the sorted block times (with fifteen, the
        fourth smallest and fourth largest), which is valid for any distribution of times. With two
        to five blocks, the bounds are Student's, from the log times; one block gives no bounds.
        With several processes, the estimate is the geometric mean of their medians; only
        `Profile.timed_s` includes the scatter between processes in the interval.
        """
        if self.timing is None:
            reason = self.reason or Reason.as_written(self.status.value)
            if not self.is_untimed:
                reason = Reason.of("size_did_not_run", size=self.batch_size, why=reason)
            return Estimate.cannot_tell(reason)
        medians = []
        for timing in self.timings:
            medians.append(median_of_blocks(np.divide(timing.block_s, timing.block_steps).tolist()))
        return medians[0] if len(medians) == 1 else geometric_mean(medians)

    @property
    def samples_per_s(self) -> float | None:
        """Examples per second at the median step time; None if the point was not timed."""
        step_s = self.step_s.estimate
        return step_s and self.batch_size / step_s


# On a quiet machine, the log ratio of two sizes' step times has the standard deviation 0.04 between
# processes. The variance measured in few processes is uncertain, so it is averaged with 0.04^2,
# which has the weight of a variance measured in 4 processes (3 degrees of freedom).
_RATIO_SCATTER = ProcessScatter(log_sd=0.04, degrees=3, n_sizes=2)


def ratio_in_turn(processes: Sequence[Sequence[float]]) -> Estimate:
    """Estimate a ratio of step times; `processes` contains the ratios measured in each process."""
    medians = list(map(statistics.median, processes))
    return _RATIO_SCATTER.of_size(medians, geometric_mean(list(map(median_of_blocks, processes))))


FEWEST_PROCESSES: Final = 2
"""Two processes per batch size are enough to estimate the scatter between processes."""
MOST_PROCESSES: Final = 12
"""The most processes per batch size; more processes would hardly narrow an interval."""
_NARROW = 0.05  # enough processes ran once the interval of a log step time has this half-width

# The plateau starts at the smallest batch size whose throughput is at least the best / 1.10.
_PLATEAU_FRACTION = 0.10


class ProfiledWorkload(msgspec.Struct, frozen=True, kw_only=True):
    """The workload that was profiled; `batch_size` is the workload's own batch size."""

    workload_id: str
    name: str
    n_train: Count
    batch_size: Count


@dataclass(frozen=True, kw_only=True)  # no slots, because a cached property needs a __dict__
class Profile(ShownInNotebook):
    """The measured step time and peak memory of each batch size on one device.

    This is the document that `batchlab profile --json` prints.

    Attributes:
        workload: the workload that was profiled.
        device: "cpu" or "cuda".
        device_name: the model of the processor or GPU.
        memory_limit_bytes: the requested memory limit; None stands for the device's memory.
        environment: versions, processor, cores and system of the machine that measured.
        created_at: time of the measurement, UTC, ISO 8601.
        points: all batch sizes that were tried, ascending, with larger micro-batches first.
        evaluation_bytes: peak memory of an evaluation, above that of an idle process; None if
            unknown, or if the peaks of a script's points include the evaluation.
        compile_s: the seconds that torch.compile took before the first step; None if the step times
            are not those of a compiled model.
        stopped: why not all batch sizes were tried: "memory" (larger sizes do not fit), "time" (the
            budget was spent), "errors" (several sizes in a row failed); None if all were tried.
    """

    schema: int = SCHEMA
    command: str = "profile"
    batchlab: str = __version__
    workload: ProfiledWorkload
    device: str
    device_name: str
    memory_limit_bytes: Count | None
    environment: tuple[tuple[str, str], ...]
    created_at: str
    points: tuple[ProfilePoint, ...]
    evaluation_bytes: Bytes | None = None
    compile_s: float | None = None
    stopped: Stopped | None = None

    document = (
        *("schema", "command", "batchlab", "workload", "device", "device_name"),
        *("memory_limit_bytes", "environment", "created_at", "points", "evaluation_bytes"),
        *("compile_s", "stopped"),
        *("largest_batch_size", "plateau_batch_size", "memory", "step_time"),
    )
    by_name = ("environment",)

    @property
    def batch_sizes(self) -> set[int]:
        """The batch sizes that were tried."""
        return {point.batch_size for point in self.points}

    @cached_property
    def ran_points(self) -> list[ProfilePoint]:
        """The points that ran within the memory limit and were timed."""
        return [point for point in self.points if point.ran]

    @property
    def largest_batch_size(self) -> int | None:
        """The largest batch size that fits without accumulation; None if no size fits."""
        return max(self.whole_points, default=None)

    @cached_property
    def memory(self) -> MemoryFit:
        """The law M(B) = fixed + per example × B of the peak memory without accumulation."""
        peaks = []
        for point in self.points:
            if point.in_one_piece and point.timing is not None and point.peak_bytes is not None:
                peaks.append((point.batch_size, point.peak_bytes))
        return fit_memory(points_for_law(peaks, n_train=self.workload.n_train))

    @cached_property
    def process_scatter(self) -> ProcessScatter | None:
        """The scatter of step times between processes; None if no size ran in two processes."""
        return ProcessScatter.of(map(attrgetter("processes_s"), self.ran_points))

    @cached_property
    def step_time(self) -> StepTimeFit | None:
        """The law of seconds per step without accumulation; None if fewer than 3 sizes ran."""
        times = zip(self.whole_points, map(self.timed_s, self.whole_points.values()), strict=True)
        used = points_for_law(list(times), n_train=self.workload.n_train)
        return fit_step_time(used) if len(used) >= SIZES_FOR_LAW else None

    @property
    def plateau_batch_size(self) -> int | None:
        """The smallest batch size whose throughput is at least the best / 1.1; None if none ran.

        If this is the largest size that ran, throughput may still grow with larger sizes.
        """
        speeds: dict[int, float] = {}
        for size in self.whole_points:
            speeds[size] = size / (self.step_s(size).estimate or math.inf)
        enough = max(speeds.values(), default=0.0) / (1 + _PLATEAU_FRACTION)
        return min((size for size, speed in speeds.items() if speed >= enough), default=None)

    @property
    def evaluations_in_steps(self) -> Reason | None:
        """The warning that step times include a script's evaluations; None if they do not."""
        sizes = sorted({point.batch_size for point in self.points if point.with_evaluations})
        if not sizes:
            return None
        return Reason.of("steps_with_evaluations", sizes=", ".join(map(str, sizes)))

    def are_enough_processes(self, n: int) -> bool:
        """Return whether `n` processes per size suffice: n >= 12, or precise times and n >= 2."""
        scatter = self.process_scatter
        is_sure = scatter is None or scatter.half_width(n) <= _NARROW
        return n >= MOST_PROCESSES or (n >= FEWEST_PROCESSES and is_sure)

    def point(self, batch_size: int, micro_batch_size: int) -> ProfilePoint | None:
        """Return the point with this batch and micro-batch size, or None if not tried."""
        return self._by_shape.get((batch_size, micro_batch_size))

    def with_points(self, points: Iterable[ProfilePoint]) -> Profile:
        """Return a profile with `points` added; present points of the same `shape` are replaced."""
        by_shape = self._by_shape | {point.shape: point for point in points}
        in_order = sorted(by_shape, key=lambda shape: (shape[0], -shape[1]))
        return replace(self, points=tuple(map(by_shape.__getitem__, in_order)))

    @cached_property
    def _by_shape(self) -> dict[tuple[int, int], ProfilePoint]:
        return {point.shape: point for point in self.points}

    def best_micro_batch(self, batch_size: int) -> ProfilePoint | None:
        """Return the fastest point of `batch_size` with any micro-batch; None if no point fits."""
        ran = self._that_fit.get(batch_size, ())
        return max(ran, key=lambda point: point.samples_per_s or 0.0, default=None)

    def timed_s(self, point: ProfilePoint) -> Estimate:
        """Return a point's mean seconds per step over processes, not smoothed by `step_time`.

        The 95 % interval includes the scatter between processes, if `process_scatter` is known.
        """
        scatter = self.process_scatter
        if scatter is None or not point.timings:
            return point.step_s
        return scatter.of_size(point.processes_s, point.step_s)

    def step_s(self, batch_size: int) -> Estimate:
        """Return the seconds per step of `batch_size` with its fastest micro-batch size.

        The estimate is a weighted mean of the measured time and the law through all batch sizes
        (`StepTimeFit.measured_step_s`); for an accumulated batch, or a full batch that the law
        leaves out, the estimate is the measured time. Between two measured batch sizes, log time is
        interpolated linearly in log size; the interval is as wide as that of the neighbor with
        fewer observations. Outside the measured batch sizes, the time is unknown, with a reason.
        """
        measured = sorted(self._that_fit)
        if not measured:
            return Estimate.cannot_tell(Reason.of("no_size_ran"))
        smallest, largest = measured[0], measured[-1]
        if not smallest <= batch_size <= largest:
            return Estimate.cannot_tell(
                Reason.of("outside_profile", size=batch_size, smallest=smallest, largest=largest)
            )
        if batch_size in self._that_fit:
            return self._measured_s(batch_size)
        place = bisect(measured, batch_size)
        low, high = measured[place - 1], measured[place]
        below, above = self._measured_s(low), self._measured_s(high)
        assert below.estimate is not None
        assert above.estimate is not None
        share = math.log(batch_size / low) / math.log(high / low)
        step_s = below.estimate ** (1 - share) * above.estimate**share
        if above.n < below.n:
            return above.times(step_s / above.estimate)
        return below.times(step_s / below.estimate)

    def about_step_s(self, batch_size: int) -> float:
        """Return rough seconds per step: `step_s` if known, else scaled from the nearest size.

        At least one size must have run; an untimed size counts with its `at_most_step_s`.
        """
        step_s = self.step_s(batch_size).estimate
        if step_s is not None:
            return step_s
        ran = []
        for point in self.points:
            about_s = point.timing.step_s if point.timing else point.at_most_step_s
            if about_s is not None:
                ran.append((point.batch_size, about_s))
        nearest, step_s = min(ran, key=lambda pair: abs(math.log(pair[0] / batch_size)))
        return step_s * max(1.0, batch_size / nearest)

    def _measured_s(self, batch_size: int) -> Estimate:
        """Return a timed batch size's seconds per step.

        If the step-time law was fitted to this size, the result is a weighted mean of the measured
        time and the law's time.
        """
        point = self.best_micro_batch(batch_size)
        assert point is not None
        law = self.step_time
        if law is None or not point.in_one_piece or batch_size not in law.batch_sizes:
            return self.timed_s(point)
        return law.measured_step_s(batch_size)

    def to_dict(self) -> dict[str, Any]:
        """Return the document of `batchlab profile --json` as plain dicts, lists and numbers."""
        document: dict[str, Any] = plain(self)
        for point, row in zip(self.points, document["points"], strict=True):
            step_s = self.timed_s(point)
            # If a process takes ten times as long as another, the interval is meaningless: omit it.
            if step_s.is_too_wide:
                step_s = replace(step_s, low=None, high=None)
            row["step_s"] = plain(step_s)
        return document

    def to_json(self) -> str:
        """Return the document of `batchlab profile --json` as text, which `from_json` reads."""
        return json_text(self.to_dict())

    @classmethod
    def from_json(cls, text: str | bytes) -> Profile:
        """Read a profile from text that `to_json` made, on this or another machine.

        Raises:
            BatchlabError: `text` is not a document of `to_json`; the message says which field.
        """
        try:
            document = msgspec.json.decode(text, type=dict[str, Any])
            command, schema = document.get("command"), document.get("schema")
            if command != "profile":
                raise TypeError(f"its command is {command!r}, not 'profile'")
            if schema != SCHEMA:
                raise TypeError(f"batchlab {__version__} reads schema {SCHEMA}, not {schema!r}")
            document["environment"] = list(document.get("environment", {}).items())
            for point in document.get("points", ()):
                point["reason"] = reason_of(point.get("reason"))
            return msgspec.convert(document, Profile)
        except (msgspec.DecodeError, UnicodeError, TypeError, AttributeError) as error:
            raise BatchlabError(
                f"this is not a profile of batchlab: {error}; make it again with: "
                f"batchlab profile --json"
            ) from error

    @cached_property
    def _that_fit(self) -> dict[int, list[ProfilePoint]]:
        """The timed points within the memory limit (`is_within_limit`), by batch size."""
        points: dict[int, list[ProfilePoint]] = {}
        for point in self.ran_points:
            if self.is_within_limit(point):
                points.setdefault(point.batch_size, []).append(point)
        return points

    @cached_property
    def whole_points(self) -> dict[int, ProfilePoint]:
        """The timed points without accumulation within the memory limit, by batch size."""
        whole = {}
        for size, points in self._that_fit.items():
            for point in points:
                if point.in_one_piece:
                    whole[size] = point
        return whole

    def is_within_limit(self, point: ProfilePoint) -> bool:
        """Return whether the memory of training and evaluation is within the profile's limit."""
        used, limit = self.training_bytes(point.limited_bytes), self.memory_limit_bytes
        return limit is None or (used is not None and used <= limit)

    def training_bytes(self, step_bytes: int | None) -> int | None:
        """Return max(`step_bytes`, an evaluation's peak memory); None if `step_bytes` is None."""
        if step_bytes is None:
            return None
        return max(step_bytes, self.evaluation_bytes or 0)
