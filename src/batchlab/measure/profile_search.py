"""Searches of a profile: which batch sizes of a workload or command it tries, and for how long."""

from __future__ import annotations

import itertools
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace

from batchlab.laws.lines import SIZES_FOR_LAW, MemoryFit, fit_memory
from batchlab.measure.profile import (
    FEWEST_PROCESSES,
    ProfilePoint,
    Stopped,
    are_enough_processes,
    median_s,
    peaks_for_law,
)
from batchlab.records.estimate import Reason
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.study import USUAL_SIZES
from batchlab.records.trial import Status
from batchlab.words.reasons import reason_text

# This many bad ends in a row end the growth.
_BAD_IN_A_ROW = 2


Probe = Callable[..., ProfilePoint]
"""Tries a batch size: (batch_size, micro_batch_size, limit_s=seconds after which it is a timeout).

For a workload it also takes `timed_s`, about how many seconds its steps are timed.
"""


def default_batch_sizes(n_train: int, *, reference_batch_size: int) -> tuple[int, ...]:
    """Return 1, 2, 4, ... up to the training set, including the usual sizes and the reference."""
    doubled = [2**power for power in range(n_train.bit_length())]
    wanted = {*doubled, *USUAL_SIZES, reference_batch_size, n_train}
    return tuple(sorted(size for size in wanted if 1 <= size <= n_train))


@dataclass(eq=False)
class Search(ABC):
    """A search that tries each batch size once, and times again those that ran."""

    probe: Probe
    _: KW_ONLY
    left_s: Callable[[], float]  # the seconds left of the budget
    listener: ProgressListener
    may_accumulate: bool = True  # whether a batch that does not fit may be cut into micro-batches
    memory_limit_bytes: int | None = None  # beyond it a batch size counts as out of memory
    first: int | None = None  # the batch size to begin with; None for the smallest
    known: tuple[ProfilePoint, ...] = ()  # points that were tried before
    stopped: Stopped | None = field(default=None, init=False)  # why not all were tried
    _found: dict[tuple[int, int], ProfilePoint] = field(default_factory=dict, init=False)
    _to_come: list[int] = field(default_factory=list, init=False)  # the sizes not yet tried
    _too_large: int | None = field(default=None, init=False)  # the smallest that does not fit

    def __post_init__(self) -> None:
        """Take over the known points."""
        self._found |= {(p.batch_size, p.micro_batch_size): p for p in self.known}

    @property
    def points(self) -> tuple[ProfilePoint, ...]:
        """The points tried so far, by batch size, larger micro-batches first."""
        return tuple(
            sorted(self._found.values(), key=lambda p: (p.batch_size, -p.micro_batch_size))
        )

    def run(self, batch_sizes: Iterable[int]) -> None:
        """Try these batch sizes as far as time and memory allow, and time again what ran."""
        sizes = sorted(set(batch_sizes))
        self._to_come = list(sizes)
        place = sizes.index(self.first) if self.first in sizes else 0
        for group in self._groups(sizes[place:], sizes[:place][::-1]):
            self._try_in_order(group)
        self._time_again(point for point in self.points if point.in_one_piece)

    @abstractmethod
    def _groups(self, larger: list[int], smaller: list[int]) -> Iterable[list[int]]:
        """Return in which order to try `first` with the larger ones, and the smaller ones."""

    def _try_in_order(self, sizes: Sequence[int]) -> None:
        """Try these until time ends or several in a row do not run."""
        n_bad = 0
        for size in sizes:
            self._to_come.remove(size)
            if not self._is_too_large(size):
                point = self._tried(size, size)
                if point is None:
                    return
                if point.status is not Status.OOM:
                    n_bad = 0 if point.status is Status.OK else n_bad + 1
                    hangs = point.status is Status.TIMEOUT
                    if n_bad >= _BAD_IN_A_ROW and (hangs or self._largest is not None):
                        if size != sizes[-1]:
                            self.stopped = self.stopped or "errors"
                        return
                    continue
            if self._too_large is None or size < self._too_large:
                self._find_limit(size)
                self.stopped = self.stopped or "memory"
            if not self._accumulate(size):
                return

    def _is_too_large(self, batch_size: int) -> bool:
        return self._too_large is not None and batch_size >= self._too_large

    def _find_limit(self, too_large: int) -> None:
        self._too_large = too_large

    def _accumulate(self, size: int) -> bool:
        """Try a size that does not fit in pieces that do; return False if time ended."""
        if not self.may_accumulate or self._largest is None:
            return True
        tried = []
        for micro in self._micro_batches(size, self._largest):
            point = self._tried(size, micro)
            if point is None:
                return False
            tried.append(point)
        if tried:
            self.may_accumulate = any(point.status is Status.OK for point in tried)
        return True

    @abstractmethod
    def _micro_batches(self, size: int, largest: int) -> Iterable[int]:
        """Return the sizes of the pieces to try; `largest` is the largest that ran whole."""

    @property
    def _largest(self) -> int | None:
        """The largest batch size that ran in one piece."""
        return max(
            (p.batch_size for p in self._found.values() if p.ran and p.in_one_piece), default=None
        )

    def _probed(self, size: int, micro: int, **limits_s: float) -> ProfilePoint:
        """Return the probe's point, judged by the memory limit."""
        point = self.probe(size, micro, **limits_s)
        limit, used = self.memory_limit_bytes, point.limited_bytes
        if limit is None or used is None or used <= limit:
            return point
        reason = Reason.of("beyond_memory_limit", peak_bytes=used, limit_bytes=limit)
        return replace(point, status=Status.OOM, reason=reason)

    def _tried(self, size: int, micro: int) -> ProfilePoint | None:
        """Return the point, tried now unless it is known; None if there is no time to try it."""
        known = self._found.get((size, micro))
        if known is not None:
            return known
        n_done, to_come = len(self._found), (size, *self._to_come)
        shape = str(size) if micro == size else f"{size} in pieces of {micro}"
        done_fraction = n_done / (FEWEST_PROCESSES * (n_done + len(to_come)))
        point = self._timed(size, micro, shape, done_fraction, to_come * FEWEST_PROCESSES)
        if point is None:
            self.stopped = self.stopped or "time"
            self.listener.warning(
                f"the budget ended before batch size {size} was tried; give a larger --budget"
            )
            return None
        self._found[size, micro] = point
        if not point.ran:
            self.listener.warning(f"batch size {shape}: {_why_not_timed(point)}")
        return point

    def _time_again(self, points: Iterable[ProfilePoint]) -> None:
        """Time these points in further processes until that is enough or time ends.

        Sizes take turns, so that a busy moment affects one process of each. `first` stays first;
        the others reverse their order each round, so that what comes and goes affects all of them.
        """
        left = [(point.batch_size, point.micro_batch_size) for point in points if point.ran]
        left.sort(key=lambda shape: shape[0] != self.first)
        for n_before in itertools.count(1):
            if not left or are_enough_processes(self.points, n_before):
                return
            now = tuple(left)
            left[1:] = left[:0:-1]
            for index, (size, micro) in enumerate(now):
                n_done = n_before + index / len(now)
                sizes = tuple(each for each, _ in now[index:])
                further = self._timed(size, micro, f"{size} again", n_done / (n_done + 1), sizes)
                if further is None:
                    return
                self._found[size, micro] = _with_further(self._found[size, micro], further)
                if not further.ran:
                    left.remove((size, micro))
                    self.listener.warning(
                        f"batch size {size}, which ran before: {_why_not_timed(further)} when it "
                        f"was timed again"
                    )

    @abstractmethod
    def _timed(
        self, size: int, micro: int, told: str, done_fraction: float, to_come: Sequence[int]
    ) -> ProfilePoint | None:
        """Return the probe's point; None if there is no time for it, or time ended meanwhile.

        The listener first gets its fraction of the whole; `to_come` begins with this size.
        """


def _why_not_timed(point: ProfilePoint) -> str:
    what = "not timed" if point.is_untimed else point.status
    return f"{what} ({reason_text(point.reason)})"


def _with_further(known: ProfilePoint, further: ProfilePoint) -> ProfilePoint:
    """Return a point with the results of one more process added."""
    timing = further.timing if further.ran else None
    return replace(
        known,
        again=known.again if timing is None else (*known.again, timing),
        peak_bytes=_larger(known.peak_bytes, further.peak_bytes),
        gpu_peak_bytes=_larger(known.gpu_peak_bytes, further.gpu_peak_bytes),
        with_evaluations=known.with_evaluations or further.with_evaluations,
    )


def _larger(one: int | None, other: int | None) -> int | None:
    return max((each for each in (one, other) if each is not None), default=None)


# ---- for a workload

# Seconds of timed steps in each process, by budget; the least still gives blocks of several steps.
_TIMED_S = (0.25, 0.15, 0.1)
# The cost of a child, its copy of the workload and its first steps (measured: 0.1 to 0.3 s).
_OVERHEAD_S = 0.3
# Costs in steps: one step on all cores and one on a single core to warm up, then three timed ones.
_WARM_UP_STEPS = 3.0
_FEWEST_STEPS = 3.0
# A probe hangs after ten times the expected time, and at least 10 s, as the machine may be busy.
_HANGS_AFTER_S = 10.0
_HANGS_AFTER_FACTOR = 10.0
_FIRST_PROBE_SHARE = 0.3
# The memory limit is known well enough when 1.25 times the largest that ran is too large.
_RESOLUTION = 1.25
_REFINEMENTS = 8
# A prediction this far beyond the ceiling is believed without a probe.
_CLEARLY_BEYOND = 1.2
# A prediction is tried a little below itself, so that it fits at the first try.
_JUST_BELOW = 0.97
# The search tries the largest micro-batch that fits, and halves it this many times.
_HALVINGS = 2
_ROUND_TO = 8  # people and kernels like multiples of 8 between powers of two


@dataclass(eq=False)
class ProfileSearch(Search):
    """A search that grows the batch size, finds the memory limit, and accumulates beyond it.

    `first` comes before larger and then smaller ones.
    """

    n_train: int = field(kw_only=True)
    ceiling_bytes: int | None = field(kw_only=True)  # the available memory; None if not known
    _told_fraction: float = field(default=0.0, init=False)
    _begun_with_s: float = field(init=False)

    def __post_init__(self) -> None:
        """Start the time."""
        super().__post_init__()
        self._begun_with_s = self.left_s()

    def _groups(self, larger: list[int], smaller: list[int]) -> Iterable[list[int]]:
        return larger, smaller

    def _is_too_large(self, batch_size: int) -> bool:
        return super()._is_too_large(batch_size) or self._is_predicted_too_large(batch_size)

    def _find_limit(self, too_large: int) -> None:
        self._narrow(too_large)
        largest = self._largest or 0
        self._too_large = largest + 1
        if largest and not self.may_accumulate:
            self.listener.warning(
                f"batch sizes above {largest} do not fit whole, and what this workload does "
                f"with a batch cannot be done in micro-batches"
            )

    def _micro_batches(self, size: int, largest: int) -> Iterable[int]:
        """Return equal pieces, at first of several sizes and then like the fastest of them.

        A small last piece would cost nearly as much as a whole one.
        """
        ran = [point for point in self._found.values() if point.ran and not point.in_one_piece]
        fastest = min(ran, key=lambda point: median_s(point) / point.batch_size, default=None)
        n_pieces = -(-size // (fastest.micro_batch_size if fastest else largest))
        n_halvings = 0 if fastest else _HALVINGS
        micros = [-(-size // (n_pieces * 2**halvings)) for halvings in range(n_halvings + 1)]
        return dict.fromkeys(micros)

    def _timed(
        self, size: int, micro: int, told: str, done_fraction: float, to_come: Sequence[int]
    ) -> ProfilePoint | None:
        expected_s = self._expected_step_s(size)
        if self.left_s() <= _cost_s(expected_s, _TIMED_S[-1]):
            return None
        self._tell(f"batch size {told}", done_fraction, to_come)
        left_s, timed_s = self.left_s(), self._affordable_s(to_come)
        limit_s = self._limit_s(expected_s, timed_s)
        point = self._probed(size, micro, timed_s=timed_s, limit_s=min(left_s, limit_s))
        # A probe that was cut off says nothing about the model.
        return None if point.status is Status.TIMEOUT and left_s < limit_s else point

    def _tell(self, text: str, done_fraction: float, to_come: Sequence[int]) -> None:
        cost_s = sum(_cost_s(self._expected_step_s(size), _TIMED_S[0]) for size in to_come)
        # Sizes found on the way add to the work, so the fraction must be kept from going back.
        self._told_fraction = max(self._told_fraction, done_fraction)
        self.listener.progress(
            done_fraction=self._told_fraction,
            left_s=min(max(0.0, self.left_s()), cost_s),
            text=text,
        )

    def _expected_step_s(self, batch_size: int) -> float:
        """Return the time on a line through the smallest and the nearest smaller size that ran.

        It is 0 if none ran. Small batch sizes take nearly the same time, so a time in proportion to
        one example would put a large batch beyond any budget.
        """
        ran = sorted(
            (point.batch_size, median_s(point)) for point in self._found.values() if point.ran
        )
        if not ran:
            return 0.0
        first, first_s = ran[0]
        nearest, nearest_s = max([pair for pair in ran if pair[0] <= batch_size] or ran[:1])
        in_proportion = nearest_s / nearest
        slope_s = in_proportion
        if nearest > first:
            slope_s = min(max(0.0, (nearest_s - first_s) / (nearest - first)), in_proportion)
        return nearest_s + slope_s * max(0, batch_size - nearest)

    def _affordable_s(self, sizes: Sequence[int]) -> float:
        """Return the longest timing with which all of `sizes` still fit into the time left."""
        expected = [self._expected_step_s(size) for size in sizes]
        for timed_s in _TIMED_S:
            if sum(_cost_s(step_s, timed_s) for step_s in expected) <= self.left_s():
                return timed_s
        return _TIMED_S[-1]

    def _limit_s(self, expected_step_s: float, timed_s: float) -> float:
        if not any(point.ran for point in self._found.values()):
            return max(_HANGS_AFTER_S, _FIRST_PROBE_SHARE * self._begun_with_s)
        return max(_HANGS_AFTER_S, _HANGS_AFTER_FACTOR * _cost_s(expected_step_s, timed_s))

    def _law(self) -> MemoryFit | None:
        """Return the memory law so far, or None if there are too few peaks for one."""
        peaks = peaks_for_law(self.points, n_train=self.n_train)
        return fit_memory(peaks) if len(peaks) >= SIZES_FOR_LAW else None

    def _is_predicted_too_large(self, batch_size: int) -> bool:
        """Predict only near the ceiling; far below it the law rests on peaks that barely differ."""
        if self.ceiling_bytes is None or self._largest is None:
            return False
        peak_bytes = self._found[self._largest, self._largest].peak_bytes
        if peak_bytes is None or 2 * peak_bytes < self.ceiling_bytes:
            return False
        law = self._law()
        predicted = None if law is None else law.predicted_bytes(batch_size).estimate
        return predicted is not None and predicted > _CLEARLY_BEYOND * self.ceiling_bytes

    def _narrow(self, too_large: int) -> None:
        """Halve what does not fit until something does, then find the largest that fits."""
        n_refined = 0
        while n_refined < _REFINEMENTS:
            fits = self._largest
            size = too_large // 2 if fits is None else self._between(fits, too_large)
            point = self._tried(size, size) if size else None
            if not size or point is None:
                return
            n_refined += fits is not None
            if not point.ran:
                too_large = size

    def _between(self, fits: int, too_large: int) -> int | None:
        """Return the next size to try between these; None if the limit is known well enough."""
        if too_large <= fits * _RESOLUTION or too_large - fits < 2:
            return None
        law = self._law()
        predicted = None
        if law is not None and self.ceiling_bytes is not None:
            predicted = law.largest_batch_size(self.ceiling_bytes)
        if predicted is not None and predicted < fits * _RESOLUTION:
            return None
        if predicted is None or predicted >= too_large:
            return _rounded(math.sqrt(fits * too_large), above=fits, below=too_large)
        return _rounded(predicted * _JUST_BELOW, above=fits, below=too_large)


def _cost_s(step_s: float, timed_s: float) -> float:
    """Return the seconds that a probe takes if one step takes `step_s` on all cores."""
    return _OVERHEAD_S + _WARM_UP_STEPS * step_s + max(timed_s, _FEWEST_STEPS * step_s)


def _rounded(size: float, *, above: int, below: int) -> int:
    """Return `size` as a whole number strictly between the two, if possible a multiple of 8."""
    rounded = round(size / _ROUND_TO) * _ROUND_TO
    if above < rounded < below:
        return rounded
    return min(max(round(size), above + 1), below - 1)


# ---- for a command

# A batch size that is tried again should have this much more time than it took at first.
_AGAIN_FACTOR = 1.3
# The first size gets at most this share of the time left, because one size says nothing by itself.
_FIRST_SHARE = 0.45


@dataclass(eq=False)
class CommandSearch(Search):
    """A search of `first`, the sizes next to it, then others; each start may take minutes."""

    _took_s: dict[int, float] = field(default_factory=dict, init=False)

    def _groups(self, larger: list[int], smaller: list[int]) -> Iterable[list[int]]:
        # The nearest sizes on both sides come early, as without them there is nothing to choose.
        return larger[:1], larger[1:2], smaller, larger[2:]

    def _micro_batches(self, size: int, largest: int) -> Iterable[int]:
        """Return the pieces as large as fit, if they are equal."""
        n_pieces = -(-size // largest)
        return [size // n_pieces] if size % n_pieces == 0 else []

    def _timed(
        self, size: int, micro: int, told: str, done_fraction: float, to_come: Sequence[int]
    ) -> ProfilePoint | None:
        left_s, longest_s = self.left_s(), max(self._took_s.values(), default=0.0)
        if left_s <= (_AGAIN_FACTOR * self._took_s[size] if size in self._took_s else longest_s):
            return None
        self.listener.progress(done_fraction=done_fraction, left_s=None, text=f"batch size {told}")
        began_s = time.monotonic()
        is_first_of_several = not self._found and len(to_come) > FEWEST_PROCESSES
        limit_s = _FIRST_SHARE * left_s if is_first_of_several else left_s
        point = self._probed(size, micro, limit_s=limit_s)
        if point.ran:
            self._took_s.setdefault(size, time.monotonic() - began_s)
        return point
