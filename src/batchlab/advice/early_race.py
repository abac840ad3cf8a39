"""EarlyRace: choose a configuration by single runs, for budgets below two whole trainings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from batchlab.advice.procedure import Procedure
from batchlab.advice.study import FAILED

# The first configuration that a race tries: its batch size as a multiple of the reference batch
# size, and its learning rate in octaves above the reference rate.
_FIRST_TIMES, _FIRST_OCTAVE = 8, 1
# A throughput (examples per second) counts as higher only if it is at least this many times the
# other. A larger batch size is tried only if its throughput is higher than that of the reference. A
# smaller batch size is tried unless the throughput of the reference is higher.
HARDLY_FASTER = 1.25
# If a configuration ends worse than the reference by more margins than this, try no other learning
# rate at its batch size.
_FAR_WORSE = 4.0
# After a pilot shorter than this fraction of a training, first try twice the batch size and rate.
_HARDLY_SEEN = 1 / 8


class EarlyRace:
    """The search for a faster configuration by single runs of a study.

    The search starts at eight times the reference batch size, where an epoch is fast on most
    machines. It finds the best rate there, and trains that configuration for as many epochs as the
    pilot. If the final value is worse than the reference's, the search goes on with a rate or a
    batch size nearer to the reference's.
    """

    def __init__(self, procedure: Procedure) -> None:
        """Prepare a race after the pilot; `procedure` makes the runs."""
        self._procedure, self._study = procedure, procedure.study
        study, end = self._study, self._study.end
        assert end is not None
        self._own, own_rate = study.own, study.question.reference.learning_rate
        # Octaves from the reference rate up to the rate of the run that set the target.
        self._first_octave = round(math.log2(end.learning_rate / own_rate))
        self._own_size = int(study.sizes[study.own])
        self._raced = set(study.where(lambda one: one.records))
        self._sizes, self._first_size = race_sizes(self._own_size, study.weight)
        self._lead = self._soonest()
        self._doubled = self._twice_both()
        self._last: int | None = None  # the last configuration that was tried

    def run(self) -> None:
        """Try configurations until one ends no worse than the reference or no budget is left."""
        if self._doubled is not None:
            self._challenge([self._doubled])
        first = self._first()
        stride = 1 if self._study.sizes[first] == self._own_size else 2
        place: int | None = self._climb(first, stride=stride)
        while place is not None:
            self._last = place
            if self._has_lost(place):
                place = self._nearer_than(place, is_far=True)
                continue
            worse = self._worse(place)
            if worse is None or worse <= 1:
                break  # if the pilot was cut before its end, larger sizes look fast but end worse
            place = self._instead_of(place, worse)
        self._study.log.reserved_s = 0.0

    @property
    def soonest(self) -> int:
        """The configuration to report: the fastest that ended no worse than the reference.

        If the reference itself is the fastest, a faster configuration may be reported although its
        final value is not known: the last configuration tried, if the reference's training (the
        pilot) was cut before its end; or twice the batch size and learning rate, if the pilot was
        very short. These ended no worse in 90 % of recorded trainings
        (benchmarks/results/branched-training.md).
        """
        soonest, last, doubled = self._soonest(), self._last, self._doubled
        if soonest != self._own:
            return soonest
        if last is not None and self._study.fraction < 1:
            if last not in self._ends() and self._order(last) < self._order(self._own):
                return last
        if doubled is not None and self._order(doubled) < self._order(self._own):
            return doubled
        return soonest

    # ---- which configuration is next

    def _twice_both(self) -> int | None:
        """Return the configuration with twice the reference batch size and rate, or None."""
        study, size = self._study, 2 * self._own_size
        if study.fraction >= _HARDLY_SEEN or size not in study.weight:
            return None
        if 2 * study.weight[self._own_size] < HARDLY_FASTER * study.weight[size]:
            return None  # throughput hardly rises, so doubling does not pay
        return study.nearest(size, self._first_octave + 1)

    def _first(self) -> int:
        size, octave = self._first_size, self._first_octave
        if size == self._own_size:
            return self._lead
        if size < self._own_size:
            return self._scaled(self._study.nearest(self._own_size, octave), size)
        return self._study.nearest(size, _FIRST_OCTAVE + octave)

    def _scaled(self, i: int, size: int) -> int:
        """Return configuration i at batch size `size`, its rate scaled by the square-root rule."""
        times = size / int(self._study.sizes[i])
        octave = float(self._study.places.rate[i]) + round(math.log2(times) / 2)
        return self._study.nearest(size, octave)

    def _climb(self, start: int, *, stride: int) -> int:
        """Find the fastest rate: move up or down by `stride` octaves while runs get faster."""
        if start not in self._raced:
            self._challenge([start])
        best, to_come = start, self._new_beside(start, stride)
        while to_come:
            some = to_come.pop(0)
            self._challenge(some)
            soonest = min([best, *some], key=self._order)
            if soonest != best:
                best, to_come = soonest, self._new_beside(soonest, stride)
        return best

    def _instead_of(self, i: int, worse: float) -> int | None:
        """Find a configuration to try instead of configuration i.

        Configuration i ended worse than the reference, by `worse` margins.
        """
        ends = self._ends()
        if worse <= _FAR_WORSE:
            for sign in (-1, 1):
                beside = self._study.beside(i, sign)
                if beside is None or beside in ends:
                    continue
                tuned_worse = self._worse(beside)
                if tuned_worse is None:
                    return None
                if tuned_worse <= 1:
                    return beside
        same = self._study.sizes[i]
        least = min(end for j, end in self._ends().items() if self._study.sizes[j] == same)
        return self._nearer_than(i, is_far=least > _FAR_WORSE)

    def _nearer_than(self, i: int, *, is_far: bool) -> int | None:
        """Try a new batch size between that of configuration i and the reference batch size.

        Return its configuration with the best rate, or None if no size is left. If `is_far`, the
        new batch size may differ from that of i by a factor of four, not two.
        """
        size, own = int(self._study.sizes[i]), self._own_size
        raced = set(self._study.sizes[[*self._raced]])
        left = []
        for n in self._sizes:
            if min(size, own) < n < max(size, own) and n not in raced:
                left.append(n)
        if not left:
            return None
        times = 4 if is_far and max(size / own, own / size) >= _FIRST_TIMES else 2
        nearer = _nearest(left, size / times if size > own else size * times)
        self._lead = self._soonest()
        return self._climb(self._scaled(i, nearer), stride=1)

    # ---- runs

    def _challenge(self, some: Sequence[int]) -> None:
        """Run each configuration while it may be faster than the best so far; update the best."""
        study, log = self._study, self._study.log
        log.reserved_s = 0.0
        if self._lead not in self._ends():  # reserve the budget to train it to its end
            steps = study.whole_steps(self._lead)
            request = log.request(study.cells[self._lead].cell, 0, steps=steps, whole=True)
            log.reserved_s = log.expected_s(request)
        self._procedure.follow(some, self._lead)
        self._raced.update(some)
        self._lead = min([self._lead, *some], key=self._order)

    def _worse(self, i: int) -> float | None:
        """Train i if needed; return how many margins worse than the reference its final value is.

        Return None if the budget is too small for the training.
        """
        self._raced.add(i)
        if i not in self._ends():
            self._study.log.reserved_s = 0.0
            if not self._procedure.train(i):
                return None
        return self._ends()[i]

    # ---- results of runs

    def _ends(self) -> dict[int, float]:
        """Return how many margins worse than the reference each trained configuration ends."""
        cells, yours = self._study.cells, 0.0
        reference = cells[self._own]
        if 0 in reference.ends and not reference.failed:
            yours = reference.mean_end
        ends = {}
        for i in self._study.where(lambda one: 0 in one.ends):
            ends[i] = FAILED if cells[i].failed else cells[i].mean_end - yours
        return ends

    def _has_lost(self, i: int) -> bool:
        """Return whether configuration i needs no further run, because it is slower than another.

        It has lost if it failed, or if its run missed the target, unless it was trained to its end.
        """
        if i in self._ends() or self._order(i) < self._order(self._soonest()):
            return False
        one = self._study.cells[i]
        return one.failed or (0 in one.records and 0 not in one.met_on)

    def _soonest(self) -> int:
        """Return the fastest configuration that ends at most a margin worse than the reference."""
        fine = [i for i, end in self._ends().items() if end <= 1]
        return min(fine or [self._own], key=self._order)

    def _order(self, i: int) -> tuple[float, float]:
        """Return a key that sorts by cost to the target, then by best value; failures come last."""
        one = self._study.cells[i]
        if one.failed or 0 not in one.records:
            return math.inf, math.inf
        cost, distance = math.inf, self._study.question.distance(one.records[0])
        if 0 in one.met_on:
            cost = one.steps[0][0] + math.log2(self._study.weight[one.cell.batch_size])
        return cost, distance

    # ---- neighboring rates and batch sizes

    def _new_beside(self, i: int, stride: int) -> list[list[int]]:
        """Return the untried configurations next to configuration i.

        They differ from it by `stride` octaves in learning rate. Each list has at most as many
        configurations as can run at the same time.
        """
        new = []
        for octaves in (stride, -stride):
            beside = self._study.beside(i, octaves)
            if beside is not None and beside not in self._raced:
                new.append(beside)
        n = max(1, self._study.log.engine.n_workers)
        return [new[k : k + n] for k in range(0, len(new), n)]


def race_sizes(own: int, weight: dict[int, float]) -> tuple[list[int], int]:
    """Return the batch sizes that a race may try, and the batch size where it starts.

    The race starts at eight times the reference batch size if throughput is higher there; if not,
    larger batch sizes gain nothing, so the race tries `own` and smaller sizes of about equal
    throughput, and starts at the size nearest to an eighth of `own`.

    Args:
        own: the reference batch size.
        weight: the cost of a step, by batch size.
    """
    # The throughput of each batch size, relative to the reference batch size.
    speed = {size: size / own * weight[own] / cost for size, cost in weight.items()}
    larger = [size for size in speed if size >= own]
    first = _nearest(larger, _FIRST_TIMES * own)
    if speed[first] >= HARDLY_FASTER:
        return larger, first
    as_fast = [size for size in speed if size <= own and speed[size] > 1 / HARDLY_FASTER]
    return as_fast, _nearest(as_fast, own / _FIRST_TIMES)


def _nearest(sizes: Iterable[int], wanted: float) -> int:
    return min(sizes, key=lambda size: (abs(math.log(size / wanted)), size))
