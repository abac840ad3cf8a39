"""EarlyRace: where a budget has fewer than two trainings, single runs against what leads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean

from batchlab.advice.procedure import Procedure
from batchlab.advice.study import FAILED

# The first batch size, in times the reference's, and the first rate there, in octaves above the
# reference's.
_FIRST_TIMES, _FIRST_OCTAVE = 8, 1
# A larger batch size that does not process so many times the examples a second is not raced, and a
# smaller one is where it does not process so many times fewer.
HARDLY_FASTER = 1.25
# So many margins worse at the end no rate beside it mends.
_FAR_WORSE = 4.0


class EarlyRace:
    """The race of one study: `run` ranks configurations.

    A batch size of eight times the reference's is cheap on most machines. Its rate is climbed, what
    leads is trained as long as the pilot, and if it ends worse, a rate or batch size nearer to the
    reference's takes its turn.
    """

    def __init__(self, procedure: Procedure, *, first_octave: int = 0) -> None:
        """Nothing ran beside the pilot.

        Args:
            procedure: makes the runs.
            first_octave: of the best rate so far above the reference's.
        """
        self._procedure, self._study = procedure, procedure.study
        study = self._study
        self._own, self._first_octave = study.own, first_octave
        self._own_size = int(study.sizes[study.own])
        self._raced: set[int] = {i for i, one in enumerate(study.cells) if one.records}
        self._sizes, self._first_size = race_sizes(self._own_size, study.weight)
        self._lead = self._soonest()
        self._turned_back = False
        self._last: int | None = None  # the last one to take its turn

    def run(self) -> None:
        """Race until nothing is likely to be sooner, or the budget ends."""
        first = self._first()
        place: int | None = self._climb(first, stride=1 if self._is_own_size(first) else 2)
        while place is not None:
            self._last = place
            if self._has_lost(place):
                place = self._nearer_than(place, is_far=True)
                continue
            worse = self._worse(place)
            if worse is None:
                break
            if worse > 1:
                place = self._instead_of(place, worse)
            elif self._study.fraction < 1:
                break  # early on those ever further away are sooner, and end worse
            else:
                self._lead = self._soonest()
                place = self._sooner_than(place)
        self._study.log.reserved_s = 0.0

    @property
    def soonest(self) -> int:
        """Of those that were trained as long as the pilot and end no worse; else the reference.

        Where the pilot was cut and the budget has no room for that, the last one that was raced.
        """
        soonest, last = self._soonest(), self._last
        if soonest == self._own and last is not None and self._study.fraction < 1:
            if last not in self._ends() and self._order(last) < self._order(self._own):
                return last
        return soonest

    # ---- moves

    def _is_own_size(self, i: int) -> bool:
        return int(self._study.sizes[i]) == self._own_size

    def _first(self) -> int:
        size, octave = self._first_size, self._first_octave
        if size == self._own_size:
            return self._lead
        if size < self._own_size:
            return self._scaled(self._study.nearest(self._own_size, octave), size)
        return self._study.nearest(size, _FIRST_OCTAVE + octave)

    def _scaled(self, i: int, size: int) -> int:
        """Another batch size at the rate of the square-root rule, to an octave."""
        times = size / int(self._study.sizes[i])
        octave = float(self._study.places.rate[i]) + round(math.log2(times) / 2)
        return self._study.nearest(size, octave)

    def _climb(self, start: int, *, stride: int) -> int:
        """The best rate of a batch size: up or down in strides as long as that is sooner."""
        if start not in self._raced:
            self._challenge([start])
        best = start
        while (soonest := self._best_beside(best, stride)) != best:
            best = soonest
        return best

    def _best_beside(self, i: int, stride: int) -> int:
        for some in self._new_beside(i, stride):
            self._challenge(some)
            soonest = min([i, *some], key=self._order)
            if soonest != i:
                return soonest
        return i

    def _instead_of(self, i: int, worse: float) -> int | None:
        """What may end better than a configuration that ends worse; None: nothing was found."""
        ends = self._ends()
        if worse <= _FAR_WORSE:
            for sign in (-1, 1):
                beside = self._study.beside(i, sign)
                if beside is None or beside in ends:
                    continue
                found = self._worse(beside)
                if found is None or found <= 1:
                    return None if found is None else beside
        same = self._study.sizes[i]
        least = min(end for j, end in self._ends().items() if self._study.sizes[j] == same)
        return self._nearer_than(i, is_far=least > _FAR_WORSE)

    def _nearer_than(self, i: int, *, is_far: bool) -> int | None:
        """The best rate of a batch size nearer to the reference's; None: all were raced."""
        apart = self._apart(int(self._study.sizes[i]))
        between = [size for size in self._sizes if 1 < self._apart(size) < apart]
        nearer = self._new_size(between, apart / (4 if is_far and apart >= _FIRST_TIMES else 2))
        if nearer is None:
            return None
        self._turned_back = True
        self._lead = self._soonest()
        return self._climb(self._scaled(i, nearer), stride=1)

    def _sooner_than(self, i: int) -> int | None:
        """A rate beside the one that leads, or a size further away; None: none is sooner."""
        for some in self._new_beside(i, 1):
            if self._challenge(some):
                return self._lead
        if self._turned_back:
            return None
        apart = self._apart(int(self._study.sizes[i]))
        for times in (4, 2):
            beyond = [size for size in self._sizes if self._apart(size) > apart]
            further = self._new_size(beyond, times * apart)
            if further is None:
                return None
            self._climb(self._scaled(i, further), stride=1)
            if int(self._study.sizes[self._lead]) == further:
                return self._lead
        return None

    # ---- runs

    def _challenge(self, some: Sequence[int]) -> bool:
        """Follow runs side by side as long as they may win; whether one of them leads now."""
        self._reserve()
        self._procedure.follow(some, self._lead)
        self._raced.update(some)
        best = min(some, key=self._order)
        self._lead = min(self._lead, best, key=self._order)
        return self._lead == best

    def _worse(self, i: int) -> float | None:
        """By how many margins its training ends worse; None: the budget does not reach for it."""
        self._raced.add(i)
        if i not in self._ends():
            self._study.log.reserved_s = 0.0
            if not self._procedure.train(i):
                return None
        return self._ends()[i]

    def _reserve(self) -> None:
        """What leads is trained to its end first of all."""
        study, log = self._study, self._study.log
        log.reserved_s = 0.0
        if self._lead not in self._ends():
            steps = study.whole_steps(self._lead)
            request = log.request(study.cells[self._lead].cell, 0, steps=steps, whole=True)
            log.reserved_s = log.expected_s([request])

    # ---- what the runs say

    def _ends(self) -> dict[int, float]:
        """Margins worse than yours by configuration, of those that were trained to their end."""
        ended = {i: one for i, one in enumerate(self._study.cells) if 0 in one.ends}
        own = ended.get(self._own)
        yours = 0.0 if own is None or own.failed else fmean(own.ends.values())
        return {
            i: FAILED if one.failed else fmean(one.ends.values()) - yours
            for i, one in ended.items()
        }

    def _has_lost(self, i: int) -> bool:
        """Whether something that ends no worse is sooner: then its own end is of no interest."""
        if i in self._ends() or self._order(i) < self._order(self._soonest()):
            return False
        if self._study.fraction == 1:
            return True
        one = self._study.cells[i]
        return one.failed or (0 in one.records and 0 not in one.met_on)

    def _soonest(self) -> int:
        """Of those that were seen to end no worse."""
        fine = [i for i, end in self._ends().items() if end <= 1]
        return min(fine or [self._own], key=self._order)

    def _order(self, i: int) -> tuple[float, float]:
        """By the cost to the level; of those that have not met it, by how near they came."""
        one = self._study.cells[i]
        if one.failed or 0 not in one.records:
            return math.inf, math.inf
        weight = math.log2(self._study.weight[one.cell[0]])
        cost = one.steps[0][0] + weight if 0 in one.met_on else math.inf
        return cost, self._study.question.distance(one.records[0])

    # ---- places

    def _new_beside(self, i: int, stride: int) -> list[list[int]]:
        """The rates beside it that were not raced, as many together as there are workers."""
        beside = (self._study.beside(i, sign * stride) for sign in (1, -1))
        new = [other for other in beside if other is not None and other not in self._raced]
        n = max(1, self._study.log.engine.n_workers)
        return [new[k : k + n] for k in range(0, len(new), n)]

    def _apart(self, size: int) -> float:
        """How many times the reference's it is, or of how many it is one part."""
        return max(size / self._own_size, self._own_size / size)

    def _new_size(self, sizes: Iterable[int], apart: float) -> int | None:
        """Of those not raced yet the one about so many times apart from the reference's."""
        own, raced = self._own_size, {int(self._study.sizes[i]) for i in self._raced}
        left = [size for size in sizes if size not in raced]
        return _nearest(left, own * apart if max(left) > own else own / apart) if left else None


def race_sizes(own: int, weight: dict[int, float]) -> tuple[list[int], int]:
    """The batch sizes that a race from `own` may go to, and where it begins.

    It begins at eight times the reference batch size. Where a batch of that size takes about eight
    times as long, a larger one has nothing to win. Then it begins at an eighth, and keeps to sizes
    that process as many examples a second; at `own` where neither larger nor smaller ones may win.

    Args:
        own: the reference batch size.
        weight: what a step costs, by batch size.
    """
    # How many examples are processed for the cost of one at the reference batch size.
    speed = {size: size / own * weight[own] / cost for size, cost in weight.items()}
    larger = [size for size in speed if size >= own]
    first = _nearest(larger, _FIRST_TIMES * own)
    if speed[first] >= HARDLY_FASTER:
        return larger, first
    as_fast = [size for size in speed if size <= own and speed[size] > 1 / HARDLY_FASTER]
    return as_fast, _nearest(as_fast, own / _FIRST_TIMES)


def _nearest(sizes: Iterable[int], wanted: float) -> int:
    return min(sizes, key=lambda size: (abs(math.log(size / wanted)), size))
