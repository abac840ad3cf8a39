"""ProfileSearch: chooses the batch sizes of a profile, and the time to spend on each size."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field, replace

from batchlab.measure.blocks import TIMED_S
from batchlab.measure.profile import FEWEST_PROCESSES, Profile, ProfilePoint, Stopped
from batchlab.records.estimate import Reason
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.trial import Status
from batchlab.words.reasons import reason_text

# No more sizes of a group (larger or smaller sizes) are tried after this many failures in a row.
_BAD_IN_A_ROW = 2
# The seconds to start a child and copy the workload to it (measured: 0.1 to 0.3).
_OVERHEAD_S = 0.3
# The warm-up takes as long as about three steps; then at least three steps are timed.
_WARM_UP_STEPS = 3.0
_FEWEST_STEPS = 3.0
# A probe run of a workload is stopped after ten times its expected time, but not before 10 s.
_HANGS_AFTER_S = 10.0
_HANGS_AFTER_FACTOR = 10.0
# The first of several sizes gets at most this fraction of the budget, to leave time for the others.
_FIRST_SHARE = 0.45
# A command's batch size is timed again only if 1.3 times its first duration is left of the budget.
_AGAIN_FACTOR = 1.3
# The search for the memory limit ends when 1.25 times the largest size that ran is too large.
_RESOLUTION = 1.25
_ROUND_TO = 8  # Prefer multiples of 8, which are common and often faster.


Probe = Callable[..., ProfilePoint]
"""A function that runs a batch size: (batch_size, micro_batch_size, limit_s=timeout in seconds)."""


def default_batch_sizes(n_train: int, *, reference_batch_size: int) -> tuple[int, ...]:
    """Return all powers of 2 and the reference size, up to `n_train`, and `n_train`."""
    doubled = {2**power for power in range(n_train.bit_length())}
    return tuple(sorted(doubled | {min(reference_batch_size, n_train), n_train}))


class _OutOfTime(Exception):
    """The remaining budget is too short to run a batch size (the argument of the exception)."""


@dataclass(eq=False)
class ProfileSearch:
    """A search that times batch sizes, in micro-batches if they are above the memory limit.

    Each batch size is tried once: the workload's own size, then larger and then smaller sizes.
    Then the sizes that ran without accumulation are timed again. Sizes already in the profile are
    only timed again.

    A command may take minutes to start, so the sizes next to a command's own size come first, and
    the exact memory limit is not searched for.
    """

    probe: Probe
    profile: Profile  # the profile with all points measured until now
    _: KW_ONLY
    left_s: Callable[[], float]  # returns the remaining seconds of the budget
    listener: ProgressListener
    may_accumulate: bool = True  # True if a batch that does not fit may be cut into micro-batches.
    is_command: bool = False  # True if a command is timed, not a workload.
    _took_s: dict[int, float] = field(default_factory=dict, init=False)  # Seconds to run each size.
    _to_come: list[int] = field(default_factory=list, init=False)  # The batch sizes not yet tried.
    _too_large: int | None = field(default=None, init=False)  # The smallest size known not to fit.
    _n_probed: int = field(default=0, init=False)
    _done_fraction: float = field(default=0.0, init=False)

    def run(self, batch_sizes: Iterable[int]) -> Profile:
        """Try these batch sizes within budget and memory; then time again the sizes that ran."""
        sizes = sorted(set(batch_sizes))
        self._to_come = list(sizes)
        first = self.profile.workload.batch_size
        place = sizes.index(first) if first in sizes else 0
        for group in self._groups(sizes[place:], sizes[:place][::-1]):
            try:
                self._try_in_order(group)
            except _OutOfTime as error:
                self._stop("time")
                self.listener.warning(
                    f"the budget ended before batch size {error} was tried; give a larger --budget"
                )
        with suppress(_OutOfTime):
            self._time_again()
        return self.profile

    def _stop(self, cause: Stopped) -> None:
        self.profile = replace(self.profile, stopped=self.profile.stopped or cause)

    def _groups(self, larger: list[int], smaller: list[int]) -> list[list[int]]:
        """Return groups of sizes, in the order to try; `larger` starts with the workload's size."""
        if not self.is_command:
            return [larger, smaller]
        # Try the nearest sizes first, because they are the most useful if the budget is short.
        return [larger[:1], larger[1:2], smaller, larger[2:]]

    def _try_in_order(self, sizes: Sequence[int]) -> None:
        """Try these batch sizes in order, until two in a row fail for other reasons than memory."""
        n_bad = 0
        for size in sizes:
            self._to_come.remove(size)
            status = Status.OOM
            if self._too_large is None or size < self._too_large:
                status = self._tried(size, size).status
            if status is Status.OK:
                n_bad = 0
            elif status is Status.OOM:
                self._go_beyond_memory(size)
            else:
                n_bad += 1
                # While no batch size has run, errors do not end the search, because the model may
                # need a least number of examples per batch, which the next sizes may reach.
                is_over = status is Status.TIMEOUT or self.profile.largest_batch_size
                if n_bad >= _BAD_IN_A_ROW and is_over:
                    if size != sizes[-1]:
                        self._stop("errors")
                    return

    def _go_beyond_memory(self, size: int) -> None:
        """Find the memory limit if unknown; then try the too large `size` in micro-batches."""
        if self._too_large is None or size < self._too_large:
            self._too_large = size if self.is_command else self._limit_below(size)
            self._stop("memory")
        largest = self.profile.largest_batch_size
        if self.may_accumulate and largest is not None:
            # A micro-batch is at most half of the largest batch that fits, because the sum of
            # gradients takes memory too. Micro-batches are nearly equal, because a small last one
            # would save little time.
            most = largest if self.is_command else max(1, largest // 2)
            n_pieces = -(-size // most)
            if not self.is_command or size % n_pieces == 0:  # a command may need equal parts
                point = self._tried(size, -(-size // n_pieces))
                if point.status is Status.OOM and not self.is_command:
                    # Equal runs differ by some megabytes of memory, so micro-batches close to the
                    # limit may fail. Try micro-batches of half the size.
                    point = self._tried(size, -(-size // (2 * n_pieces)))
                self.may_accumulate = point.status is Status.OK

    def _limit_below(self, too_large: int) -> int:
        """Search for the largest size that fits (within a factor of 1.25); return that size + 1."""
        while size := self._next_below(too_large):
            if not self._tried(size, size).ran:
                too_large = size
        largest = self.profile.largest_batch_size or 0
        if largest and not self.may_accumulate:
            self.listener.warning(
                f"batch sizes above {largest} do not fit in memory, and this workload cannot "
                "split a batch into micro-batches"
            )
        return largest + 1

    def _next_below(self, too_large: int) -> int | None:
        """Return the next smaller size to try; None if the limit is known, 0 if no size fits."""
        fits = self.profile.largest_batch_size
        if fits is None:
            return too_large // 2
        if too_large <= fits * _RESOLUTION or too_large - fits < 2:
            return None
        middle = math.sqrt(fits * too_large)
        rounded = _ROUND_TO * round(middle / _ROUND_TO)
        if fits < rounded < too_large:
            return rounded
        return round(middle)

    def _tried(self, size: int, micro: int) -> ProfilePoint:
        """Return the profile's point with these sizes; measure and add the point if missing."""
        point = self.profile.point(size, micro)
        if point is not None:
            return point
        to_come = [*(size, *self._to_come) * FEWEST_PROCESSES, *self.profile.whole_points]
        text = str(size) if micro == size else f"{size} in pieces of {micro}"
        point = self._timed(size, micro, text, to_come)
        self.profile = self.profile.with_points([point])
        if not point.ran:
            self.listener.warning(f"batch size {text}: {_why_not_timed(point)}")
        return point

    def _time_again(self) -> None:
        """Repeat the timing of sizes that ran without accumulation, until the times are precise.

        Sizes take turns, so that a short disturbance affects only one process of a size. The
        workload's own size is first in each round; the order of the other sizes is reversed each
        round, so that a lasting disturbance does not always affect the same sizes.
        """
        first = self.profile.workload.batch_size
        left = sorted(self.profile.whole_points, key=lambda size: size != first)
        for n_before in itertools.count(1):
            if not left or self.profile.are_enough_processes(n_before):
                return
            now = tuple(left)
            left[1:] = left[:0:-1]
            for index, size in enumerate(now):
                further = self._timed(size, size, f"{size} again", now[index:])
                point = self.profile.point(size, size)
                assert point is not None
                self.profile = self.profile.with_points([_with_further(point, further)])
                if not further.ran:
                    left.remove(size)
                    self.listener.warning(
                        f"batch size {size}, which ran before: {_why_not_timed(further)} when it "
                        f"was timed again"
                    )

    def _timed(self, size: int, micro: int, text: str, to_come: Sequence[int]) -> ProfilePoint:
        """Run a batch size; `to_come` contains the sizes still to run, starting with `size`.

        Raises:
            _OutOfTime: the remaining budget is too short, or ended during the run.
        """
        left_s, expected_s = self.left_s(), self._expected_s(size)
        if left_s <= expected_s:
            raise _OutOfTime(size)
        limit_s = max(_HANGS_AFTER_S, _HANGS_AFTER_FACTOR * expected_s)
        if self.is_command or not self.profile.ran_points:
            limit_s = left_s
        if len(to_come) > FEWEST_PROCESSES and not self.profile.ran_points:
            limit_s = _FIRST_SHARE * left_s
            if not self.is_command:  # a command may take all the time until its limit
                limit_s = max(_HANGS_AFTER_S, limit_s)
        self._tell(text, len(to_come), min(left_s, sum(map(self._expected_s, to_come))))
        began_s = time.monotonic()
        point = self._probed(size, micro, min(left_s, limit_s))
        if point.ran:
            self._took_s.setdefault(size, time.monotonic() - began_s)
        if point.status is Status.TIMEOUT and left_s < limit_s:
            raise _OutOfTime(size)  # the end of the budget caused the timeout, not a hanging model
        return point

    def _tell(self, text: str, n_to_come: int, left_s: float) -> None:
        # Sizes may be added during the search, but the reported fraction must not decrease.
        done_fraction = self._n_probed / (self._n_probed + n_to_come)
        self._done_fraction = max(self._done_fraction, done_fraction)
        self._n_probed += 1
        self.listener.progress(
            done_fraction=self._done_fraction, left_s=left_s or None, text=f"batch size {text}"
        )

    def _probed(self, size: int, micro: int, limit_s: float) -> ProfilePoint:
        """Run a batch size; return its point, with status oom if its memory exceeds the limit."""
        point = self.probe(size, micro, limit_s=limit_s)
        limit, used = self.profile.memory_limit_bytes, point.limited_bytes
        if limit is None or used is None or used <= limit:
            return point
        reason = Reason.of("beyond_memory_limit", peak_bytes=used, limit_bytes=limit)
        return replace(point, status=Status.OOM, reason=reason)

    def _expected_s(self, batch_size: int) -> float:
        """Predict the seconds of a process at a batch size; 0 for a command that never ran."""
        if self.is_command:
            if batch_size in self._took_s:
                return _AGAIN_FACTOR * self._took_s[batch_size]
            return max(self._took_s.values(), default=0.0)
        step_s = self._expected_step_s(batch_size)
        return _OVERHEAD_S + _WARM_UP_STEPS * step_s + max(TIMED_S, _FEWEST_STEPS * step_s)

    def _expected_step_s(self, batch_size: int) -> float:
        """Scale the step time of the next smaller timed size; return 0 if no size was timed.

        A step of a size below all timed sizes takes at most as long as that of the smallest.
        """
        step_s = {point.batch_size: point.processes_s[0] for point in self.profile.ran_points}
        smaller = [size for size in step_s if size <= batch_size]
        if not smaller:
            return step_s[min(step_s)] if step_s else 0.0
        return step_s[max(smaller)] * batch_size / max(smaller)


def _why_not_timed(point: ProfilePoint) -> str:
    what = "not timed" if point.is_untimed else point.status
    return f"{what} ({reason_text(point.reason)})"


def _with_further(point: ProfilePoint, further: ProfilePoint) -> ProfilePoint:
    """Return `point` with the results of one more process, `further`, added."""
    return replace(
        point,
        again=point.again + further.timings * further.ran,
        peak_bytes=_larger(point.peak_bytes, further.peak_bytes),
        gpu_peak_bytes=_larger(point.gpu_peak_bytes, further.gpu_peak_bytes),
        with_evaluations=point.with_evaluations or further.with_evaluations,
    )


def _larger(*peaks: int | None) -> int | None:
    return max((peak for peak in peaks if peak is not None), default=None)
