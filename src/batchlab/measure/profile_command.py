"""What each batch size of somebody's command costs in time and memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from batchlab.measure.profile import FEWEST_PROCESSES, ProfilePoint, Stopped, are_enough_processes
from batchlab.records.estimate import Reason
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.study import StepTiming
from batchlab.records.trial import Status, Trial
from batchlab.script.command import TrainingCommand, trial_values
from batchlab.script.follow import FollowedTraining, Moment, StepIntervals, step_intervals
from batchlab.script.formats import LOG_SHAPE
from batchlab.script.metric import BATCH_LOSSES, ProgressPoints, plain_name
from batchlab.script.process import CommandEnd
from batchlab.script.reading import Reading
from batchlab.script.supervisor import REST_S
from batchlab.words.reasons import reason_text

# A batch size that is tried again should have this much more time than it took at first.
_AGAIN_FACTOR = 1.3
# Of what is left the first takes no more, so that the second has as long: one alone says nothing.
_FIRST_SHARE = 0.45
# So many bad ends in a row end the growth.
_BAD_IN_A_ROW = 2

Probe = Callable[[int, int, float], ProfilePoint]
"""Times a batch size in micro-batches of a size, within so many seconds."""


class CommandSearch:
    """Times batch sizes: the reference, the larger ones up, the smaller ones down, all again."""

    def __init__(
        self,
        probe: Probe,
        *,
        reference: int,
        memory_limit_bytes: int | None,
        can_accumulate: bool,
        deadline_s: float,
        listener: ProgressListener,
    ) -> None:
        """Nothing is tried yet.

        Args:
            probe: times a batch size.
            reference: the batch size that one trains with now.
            memory_limit_bytes: beyond it a batch size counts as out of memory; None: no limit.
            can_accumulate: whether the command takes micro-batches.
            deadline_s: the `time.monotonic()` at which it ends with what it has.
            listener: hears of each batch size, and of those that end badly.
        """
        self._probe = probe
        self._reference = reference
        self._memory_limit_bytes = memory_limit_bytes
        self._can_accumulate = can_accumulate
        self._deadline_s = deadline_s
        self._listener = listener
        self._found: dict[int, ProfilePoint] = {}
        self._took_s: dict[int, float] = {}
        self._too_large: int | None = None
        self.stopped: Stopped | None = None

    @property
    def points(self) -> tuple[ProfilePoint, ...]:
        """What was tried so far, by batch size."""
        return tuple(self._found[size] for size in sorted(self._found))

    def run(self, batch_sizes: Sequence[int]) -> None:
        """Time these batch sizes, then those that ran again."""
        own = self._reference
        larger = sorted(size for size in batch_sizes if size > own)
        smaller = sorted((size for size in batch_sizes if size < own), reverse=True)
        n_in_all = len(batch_sizes)
        self._in_order([size for size in batch_sizes if size == own], n_in_all)
        # The next larger and the next smaller first: without them there is nothing to choose.
        self._in_order(larger[:1], n_in_all)
        self._in_order(smaller, n_in_all)
        self._in_order(larger[1:], n_in_all)
        self._time_again()

    def _in_order(self, sizes: Sequence[int], n_in_all: int) -> None:
        n_bad = 0
        for size in sizes:
            if self._too_large is not None and size >= self._too_large:
                self._accumulated(size, n_in_all)
                continue
            point = self._tried(size, size, n_in_all)
            if point is None:
                return
            if point.status is Status.OOM and size > self._reference:
                self._too_large = size
                self.stopped = self.stopped or "memory"
                self._accumulated(size, n_in_all)
                continue
            n_bad = 0 if point.ran else n_bad + 1
            if n_bad >= _BAD_IN_A_ROW:
                self.stopped = self.stopped or "errors"
                return

    def _accumulated(self, size: int, n_in_all: int) -> None:
        """A batch size that does not fit, in equal pieces as large as fit."""
        fit = [p.batch_size for p in self._found.values() if p.ran and p.in_one_piece]
        if not self._can_accumulate or not fit:
            return
        pieces = -(-size // max(fit))
        if size % pieces == 0:
            self._tried(size, size // pieces, n_in_all)

    def _tried(self, size: int, micro: int, n_in_all: int) -> ProfilePoint | None:
        left_s = self._left_s()
        if left_s <= max(self._took_s.values(), default=0.0):
            self.stopped = self.stopped or "time"
            self._listener.warning(
                f"there was no time left to try batch size {size}; give a larger --budget"
            )
            return None
        pieces = "" if micro == size else f" in pieces of {micro}"
        done = min(1.0, len(self._found) / (FEWEST_PROCESSES * n_in_all))
        self._listener.progress(
            done_fraction=done, left_s=None, text=f"batch size {size}{pieces}", short=str(size)
        )
        began_s = time.monotonic()
        is_first_of_several = not self._found and n_in_all > 1
        limit_s = _FIRST_SHARE * left_s if is_first_of_several else left_s
        point = self._judged(self._probe(size, micro, limit_s))
        if point.ran:
            self._took_s[size] = time.monotonic() - began_s
        else:
            self._listener.warning(
                f"batch size {size}{pieces}: {point.status} ({reason_text(point.reason)})"
            )
        self._found[size] = point
        return point

    def _judged(self, point: ProfilePoint) -> ProfilePoint:
        limit, used = self._memory_limit_bytes, point.limited_bytes
        if limit is None or used is None or used <= limit:
            return point
        reason = Reason.of("beyond_memory_limit", peak_bytes=used, limit_bytes=limit)
        return replace(point, status=Status.OOM, reason=reason)

    def _time_again(self) -> None:
        """Further starts of what ran, until they are enough, or time ends.

        In turn, so that a moment in which something else ran falls on one of each size's.
        """
        sizes = [size for size, point in sorted(self._found.items()) if point.ran]
        n_starts = 1
        while sizes and not are_enough_processes(self.points, n_starts):
            for index, size in enumerate(tuple(sizes)):
                if self._left_s() <= _AGAIN_FACTOR * self._took_s[size]:
                    return
                n_done = n_starts + index / len(sizes)
                self._listener.progress(
                    done_fraction=n_done / (n_done + 1),
                    left_s=None,
                    text=f"batch size {size} again",
                    short=f"{size} again",
                )
                if not self._timed_again(size):
                    sizes.remove(size)
            n_starts += 1

    def _timed_again(self, size: int) -> bool:
        """Whether it ran once more; its point keeps what was timed before."""
        point = self._found[size]
        again = self._probe(size, point.micro_batch_size, self._left_s())
        if not again.ran or again.timing is None:
            return False
        self._found[size] = replace(
            point,
            again=(*point.again, again.timing),
            peak_bytes=_larger(point.peak_bytes, again.peak_bytes),
            gpu_peak_bytes=_larger(point.gpu_peak_bytes, again.gpu_peak_bytes),
            with_evaluations=point.with_evaluations or again.with_evaluations,
        )
        return True

    def _left_s(self) -> float:
        return self._deadline_s - time.monotonic()


def _larger(one: int | None, other: int | None) -> int | None:
    return max((each for each in (one, other) if each is not None), default=None)


# Enough for an interval that holds the median 95 times in 100, and for clocks to settle.
_STRETCHES = 12
_TIMED_S = 2.0
# Of a script that tells of itself once in many seconds fewer will do.
_FEW_STRETCHES = 4
_LONG_S = 10.0
_LISTEN_S = 0.25
_GRACE_S = 5.0
# Of a training that ends by itself first, fewer steps are enough; of one that doesn't, it is told
# to take so many.
_MOST_STEPS = 10**9


def timed_command(
    command: TrainingCommand, trial: Trial, *, folder: Path, marker: str, limit_s: float
) -> ProfilePoint:
    """Run a command until enough of its steps were seen, and end it.

    Args:
        command: what is run, with nothing beside it.
        trial: gives the batch size and how it is cut; nothing is stored under its name.
        folder: of this run.
        marker: names it among all trainings.
        limit_s: seconds after which it is ended with what was seen.

    Returns:
        Its time and memory; or why there are none.
    """
    until_s = time.monotonic() + limit_s
    seen = _Seen(command, trial)
    with FollowedTraining(
        command,
        trial_values(trial, last_step=trial.horizon_steps or _MOST_STEPS),
        folder=folder,
        marker=marker,
        grace_s=min(_GRACE_S, limit_s / 4),
    ) as training:
        end: CommandEnd | None = None
        is_asked = False
        while end is None:
            readings, end = training.listen(_LISTEN_S)
            for reading in readings:
                seen.add(reading)
            if not is_asked and end is None:
                is_asked = seen.is_enough or time.monotonic() >= until_s
                if is_asked:
                    training.end()
    return _point(trial, seen.intervals, end, is_late=not seen.is_enough and is_asked)


class _Seen:
    """The moments of one run."""

    def __init__(self, command: TrainingCommand, trial: Trial) -> None:
        self._points = ProgressPoints(
            command.metric,
            batch_size=trial.batch_size,
            counted_batch_size=trial.micro_batch_size,
            n_train=trial.n_train,
        )
        self._plan = trial.plan
        self._moments: list[Moment] = []

    def add(self, reading: Reading) -> None:
        point = self._points.add(reading)
        samples = self._points.samples_at(reading) if point is None else point.samples
        if samples is None:
            return
        updates = self._points.updates_at(reading) if point is None else point.updates
        step = self._plan.step_at(samples) if updates is None else updates
        self._moments.append(
            Moment(
                at_s=reading.at_s,
                step=step,
                has_metric=point is not None and not self._is_of_steps,
                resolution_s=0.0 if reading.shape == LOG_SHAPE else REST_S,
            )
        )

    @property
    def _is_of_steps(self) -> bool:
        """Whether the metric is the loss of training batches, which no evaluation is needed for."""
        return plain_name(self._points.metric.printed or "") in BATCH_LOSSES

    @property
    def intervals(self) -> StepIntervals:
        return step_intervals(self._moments)

    @property
    def is_enough(self) -> bool:
        found = self.intervals
        seen_s = self._moments[-1].at_s - self._moments[0].at_s if self._moments else 0.0
        n = len(found.step_s)
        return (n >= _STRETCHES and seen_s >= _TIMED_S) or (
            n >= _FEW_STRETCHES and seen_s >= _LONG_S
        )


def _point(trial: Trial, found: StepIntervals, end: CommandEnd, *, is_late: bool) -> ProfilePoint:
    point = ProfilePoint(
        batch_size=trial.batch_size,
        micro_batch_size=trial.micro_batch_size,
        status=end.status,
        reason=end.reason,
        peak_bytes=end.peak_bytes,
        gpu_peak_bytes=end.gpu_peak_bytes,
    )
    if not (end.was_asked or end.status is Status.OK):
        return point
    if not found.is_enough:
        reason = Reason.of("steps_seen_too_seldom", n=len(found.step_s))
        if end.status is Status.OK and not found.step_s:
            reason = Reason.of("over_too_soon", seconds=end.duration_s)
        return replace(point, status=Status.TIMEOUT if is_late else Status.ERROR, reason=reason)
    return replace(
        point,
        status=Status.OK,
        reason=None,
        with_evaluations=found.with_evaluations,
        timing=StepTiming(
            workload_id=trial.workload_id,
            batch_size=trial.batch_size,
            micro_batch_size=trial.micro_batch_size,
            device=trial.device,
            threads=1,
            warmup_s=found.warmup_step_s,
            block_s=found.step_s,
            block_steps=1,
            peak_bytes=end.peak_bytes,
        ),
    )
