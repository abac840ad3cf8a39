"""Race: batch size and rate from a handful of trainings, each run against the one that leads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from batchlab.advice.advice import EndLevel
from batchlab.advice.course import Course, slower_by
from batchlab.advice.endings import endings_of
from batchlab.advice.level import end_so_far, last_values
from batchlab.advice.run_log import CellKey, Place, is_whole, steps_to
from batchlab.advice.study_state import RateSearch, Size, StudyState
from batchlab.advice.verification import Conclusion, Verification, verify
from batchlab.advice.whole_trainings import BEYOND_THE_LEVEL, has_fewer_left
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.run import RunRequest
from batchlab.records.trial import TrialRecord

# The true figure over the one seen, from and to, in 95 % of the recorded answers, by whether the
# end of a training was seen. Where it was not, one in thirty misses the level on other seeds, so
# there is no lower bound. They come from benchmarks/results/race_gain.json.
_END_SEEN = (0.48, 1.47)
_CUT = (None, 2.48)


def race_gain(
    seen: float, *, end_was_seen: bool, marks: tuple[float, float] | None = None
) -> Estimate:
    """The gain with the interval that the record gives it, no narrower than its marks."""
    low, high = _END_SEEN if end_was_seen else _CUT
    first, last = marks or (seen, seen)
    interval = (None if low is None else min(low * seen, first), max(high * seen, last))
    return Estimate.of(seen, interval=interval, n=1)


def gain_of_single_runs(state: StudyState, cell: CellKey, seeds: Sequence[int]) -> Estimate | None:
    """The reference's cost to the target over that of a cell, where both met it.

    None: they did on less than half of the seeds.
    """
    until, cells, found = state.until, (state.reference_cell, cell), []
    assert until is not None
    for seed in seeds:
        records = [state.records.get((*each, seed)) for each in cells]
        met = [c for record in records if record is not None and (c := record.crossing(until))]
        if len(met) == len(cells):
            found.append([(c.least, c.middle, c.step) for c in met])
    if not found or 2 * len(found) < len(seeds):
        return None
    (first, own, last), (soonest, mine, latest) = (
        [_per_step(state.sizes[size]) * sum(steps) for steps in zip(*runs, strict=True)]
        for (size, _), runs in zip(cells, zip(*found, strict=True), strict=True)
    )
    # Either may have been met anywhere between its two evaluations.
    marks, end_was_seen = (first / latest, last / soonest), state.end is not None
    return race_gain(own / mine, end_was_seen=end_was_seen, marks=marks)


# The first batch size, in times the reference's.
_FIRST_TIMES = 8
# A larger batch size that does not process so many times the examples a second is not raced, and a
# smaller one is where it does not process so many times fewer.
HARDLY_FASTER = 1.25


def race_sizes(own: int, cost_per_step: Mapping[int, float]) -> tuple[list[int], int]:
    """The batch sizes that a race from `own` may go to, and where it begins.

    It begins at eight times the reference batch size, where a training costs little on most
    machines. Where a batch of that size takes about eight times as long, a larger one has nothing
    to win. Then it begins at an eighth, and keeps to sizes that process as many examples a second;
    at `own` where neither larger nor smaller ones may win.
    """
    # How many examples are processed for the cost of one at the reference batch size.
    speed = {size: size / own * cost_per_step[own] / cost for size, cost in cost_per_step.items()}
    larger = [size for size in speed if size >= own]
    first = _nearest(larger, _FIRST_TIMES * own)
    if speed[first] >= HARDLY_FASTER:
        return larger, first
    as_fast = [size for size in speed if size <= own and speed[size] > 1 / HARDLY_FASTER]
    return as_fast, _nearest(as_fast, own / _FIRST_TIMES)


def _nearest(sizes: Iterable[int], wanted: float) -> int:
    return min(sizes, key=lambda size: (abs(math.log(size / wanted)), size))


# The first rate beside the reference's, in octaves above it, where the batch size is larger.
_FIRST_OCTAVE = 1
# A challenger's first stretch, of what the leader took to the target, and how stretches grow.
_FIRST_STRETCH = 0.25
_GROWTH = 1.3
# It may take so much longer than the leader to a level that both have reached, more at first.
_SLACK = 0.05
_SLACK_EARLY = 0.6
# So far into what the leader took it is hardly evaluated.
_WATCHED_FROM = 0.2
# So many margins worse at the end no rate beside it mends.
_FAR_WORSE = 4.0
# A whole training is begun where so much less is left: the end of the budget may cut a little.
_SLACK_OF_BUDGET = 1.1


@dataclass(kw_only=True)
class Race:
    """The race of one study: `run` names a configuration."""

    state: StudyState  # the runs; the pilot has set the target
    end: EndLevel  # what the pilot ended with, or was at when it was cut
    # What the runs took to the target; infinite: dropped, or missed.
    costs: dict[Place, float] = field(default_factory=dict)
    # By how many margins whole trainings ended worse than the pilot.
    shortfalls: dict[Place, float] = field(default_factory=dict)
    _lead: Place = field(init=False)
    _turned_back: bool = False

    def __post_init__(self) -> None:
        reference = self.state.question.reference
        self._lattice = self.state.lattice
        self._own: Place = reference.batch_size, 0
        for (size, rate, _), record in self.state.records.items():
            if size == reference.batch_size and not record.has_failed:
                place = size, round(self._lattice.octave_of(rate))
                self.costs[place] = self._cost(place)
                is_end = math.isclose(rate, self.end.learning_rate, rel_tol=1e-3)
                self.shortfalls[place] = 0.0 if is_end else self._ended(place)
        costs = {size.batch_size: _per_step(size) for size in self.state.that_run}
        self._sizes, self._first_size = race_sizes(self._own[0], costs)
        self._lead = self._soonest()

    def run(self) -> list[CellKey]:
        """Race until nothing is likely to be sooner, or the budget ends.

        Those that were trained to their end and ended no worse, the soonest at the target
        first, down to the reference. Where the pilot was cut, and the budget ended before
        anything else was followed as far: what was soonest then.
        """
        first = self._first()
        last = self._climb(first, stride=1 if first[0] == self._own[0] else 2)
        place: Place | None = last
        while place is not None:
            last = place
            if self._has_lost(place):
                place = self._nearer_than(place, is_far=True)
                continue
            shortfall = self._shortfall(place)
            if shortfall is None:
                break
            if shortfall > 1:
                place = self._instead_of(place, shortfall)
            elif self.state.end is None:
                break  # early on those ever further away are sooner, and end worse
            else:
                self._lead = self._soonest()
                place = self._sooner_than(place)
        self.state.reserved_s = 0.0
        return [self._lattice.cell(place) for place in self._ranking(last)]

    # ---- moves

    def _first(self) -> Place:
        size, octave = self._first_size, round(self.state.first_octave)
        if size == self._own[0]:
            return self._lead
        if size < self._own[0]:
            return self._lattice.as_scaled((self._own[0], octave), size)
        return size, self._lattice.nearest(size, _FIRST_OCTAVE + octave)

    def _climb(self, start: Place, *, stride: int) -> Place:
        """The best rate of a batch size: up or down in strides as long as that is sooner."""
        size, rate = self._lattice.cell(self._lead)
        lead = Reason.of("a_configuration", size=size, rate=rate)
        did = Reason.of("race_size", size=start[0])
        self.state.note(did, Reason.of("race_against", lead=lead))
        if start not in self.costs:
            self._challenge([start])
        best = start
        while True:
            soonest = self._best_beside(best, stride)
            if soonest == best:
                return best
            best = soonest

    def _best_beside(self, place: Place, stride: int) -> Place:
        """The first group of rates beside a place that has a sooner one, or the place itself."""
        for some in self._new_beside(place, stride):
            self._challenge(some)
            soonest = min([place, *some], key=self._order)
            if soonest != place:
                return soonest
        return place

    def _instead_of(self, place: Place, shortfall: float) -> Place | None:
        """What may end better than a configuration that ends worse; None: nothing was found."""
        if shortfall <= _FAR_WORSE:
            for sign in (-1, 1):
                beside = self._lattice.beside(place, sign)
                if beside is None or beside in self.shortfalls:
                    continue
                found = self._shortfall(beside)
                if found is None or found <= 1:
                    return None if found is None else beside
        ends = [ends for other, ends in self.shortfalls.items() if other[0] == place[0]]
        return self._nearer_than(place, is_far=min(ends) > _FAR_WORSE)

    def _nearer_than(self, place: Place, *, is_far: bool) -> Place | None:
        """The best rate of a batch size nearer to the reference's; None: all were raced."""
        apart = self._apart(place[0])
        between = [size for size in self._sizes if 1 < self._apart(size) < apart]
        nearer = self._new_size(between, apart / (4 if is_far and apart >= _FIRST_TIMES else 2))
        if nearer is None:
            return None
        self._turned_back = True
        self._lead = self._soonest()
        return self._climb(self._lattice.as_scaled(place, nearer), stride=1)

    def _sooner_than(self, place: Place) -> Place | None:
        """A rate beside the one that leads, or a size further away; None: none is sooner."""
        for some in self._new_beside(place, 1):
            if self._challenge(some):
                return self._lead
        if self._turned_back:
            return None
        apart = self._apart(place[0])
        for times in (4, 2):
            beyond = [size for size in self._sizes if self._apart(size) > apart]
            further = self._new_size(beyond, times * apart)
            if further is None:
                return None
            self._climb(self._lattice.as_scaled(place, further), stride=1)
            if self._lead[0] == further:
                return self._lead
        return None

    # ---- runs

    def _challenge(self, places: Sequence[Place]) -> bool:
        """Follow runs side by side as long as they may win; whether one of them leads now."""
        leader, lead_cost = self._course(self._lead), self.costs[self._lead]
        whole = lead_cost if math.isfinite(lead_cost) else leader.cost_to(self._level(leader))
        whole = whole or leader.cost  # it has learned nothing
        self._reserve()
        # Where the leader was not evaluated yet nothing is compared.
        going, followed = list(places), max(_FIRST_STRETCH * whole, leader.points[0][0])
        while going and self._follow(going, followed, watched_from=_WATCHED_FROM * whole):
            going = [p for p in going if self._may_win(p, leader, whole, followed=followed)]
            followed *= _GROWTH
        self.costs.update({place: self._cost(place) for place in places if self._record(place)})
        best = min(places, key=self._order)
        self._lead = min(self._lead, best, key=self._order)
        return self._lead == best

    def _may_win(self, place: Place, leader: Course, whole: float, *, followed: float) -> bool:
        """Whether to go on with a challenger that was asked to go on to `followed`."""
        record = self._record(place)
        if record is None or record.has_failed or math.isfinite(self._cost(place)):
            return False
        course = self._course(place)
        share = course.cost / whole
        # What was asked for, not what came back: a recording ends at an evaluation before it.
        size = self.state.sizes[place[0]]
        is_all = followed >= self._longest_steps(size) * _per_step(size)
        if share > 1 + _SLACK or is_all:
            return False
        most = 1 + _SLACK + _SLACK_EARLY * (1 - min(1.0, share))
        return slower_by(course, leader, most=self._level(leader)) <= most

    def _follow(self, places: Iterable[Place], cost: float, *, watched_from: float) -> bool:
        """Run on to so much of the objective's cost; False: the budget does not reach for it."""
        requests = []
        for place in places:
            size = self.state.sizes[place[0]]
            steps = min(math.ceil(cost / _per_step(size)), self._longest_steps(size))
            samples = watched_from / _per_step(size) * size.examples_per_step
            requests.append(self._request(place, steps, watched_from_samples=math.floor(samples)))
        if self.state.expected_s(requests) > self.state.left_s():
            return False
        self.state.run(requests, "tune")
        return True

    def _shortfall(self, place: Place) -> float | None:
        """By how many margins its whole training ends worse; None: the budget does not reach."""
        if place in self.shortfalls:
            return self.shortfalls[place]
        steps = self._whole_steps(place)
        record = self._record(place)
        if record is None or not record.has_failed:
            self.state.reserved_s = 0.0
            request = self._request(place, steps, whole=True)
            if self.state.expected_s([request]) > _SLACK_OF_BUDGET * self.state.left_s():
                return None
            (record,) = self.state.run([request], "tune")
            if not (record.has_failed or is_whole(record, steps)):
                return None
        self.costs[place] = self._cost(place)
        self.shortfalls[place] = shortfall = self._ended(place)
        size, rate = self._lattice.cell(place)
        did = Reason.of("race_ended", size=size, rate=rate)
        self.state.note(did, Reason.of("soonest_may_end_worse"))
        return shortfall

    def _ended(self, place: Place) -> float:
        """By how many margins a training ended worse than the pilot; infinite: it failed."""
        record, steps = self._record(place), self._whole_steps(place)
        overfits = self.end.ended_by == "overfitting"
        if record is None or record.has_failed:
            return math.inf
        values = last_values(self.state.question, record, overfits=overfits, steps=steps)
        if not values:
            return math.inf
        worse = self.end.value - math.fsum(values) / len(values)
        return self.state.question.sign * worse / self.end.margin

    def _request(self, place: Place, steps: int, **settings: object) -> RunRequest:
        seed = self.state.seeds.tune[0]
        return self.state.request(self._lattice.cell(place), seed, steps=steps, **settings)  # type: ignore[arg-type]

    def _reserve(self) -> None:
        """What leads is trained to its end first of all."""
        self.state.reserved_s = 0.0
        if self._lead not in self.shortfalls:
            request = self._request(self._lead, self._whole_steps(self._lead), whole=True)
            self.state.reserved_s = self.state.expected_s([request])

    # ---- what the runs say

    def _ranking(self, last: Place) -> list[Place]:
        fine = sorted(self._fine(), key=self._order)
        found = [place for place in fine if self._order(place) < self._order(self._own)]
        is_open = self.state.end is None and last not in self.shortfalls
        if is_open and not found and self._order(last) < self._order(self._own):
            found = [last]
        return [*found, self._own]

    def _fine(self) -> list[Place]:
        return [place for place, ends in self.shortfalls.items() if ends <= 1]

    def _has_lost(self, place: Place) -> bool:
        """Whether something that ends no worse is sooner: then its own end is of no interest.

        To the level at which a pilot was cut, what is sooner may end worse: there it has lost only
        where it was dropped before it came as far as the pilot.
        """
        if place in self.shortfalls or self._order(place) < self._order(self._soonest()):
            return False
        if self.state.end is not None:
            return True
        record = self._record(place)
        if record is None or record.has_failed or is_whole(record, self._whole_steps(place)):
            return False
        return math.isinf(self._cost(place))

    def _soonest(self) -> Place:
        """Of those that were seen to end no worse."""
        return min(self._fine(), key=self._order)

    def _order(self, place: Place) -> tuple[float, float]:
        """By the cost to the target; of those that have not met it, by how near they came."""
        record = self._record(place)
        if record is None or record.has_failed:
            return math.inf, math.inf
        return self.costs.get(place, math.inf), -self._course(place).best

    def _cost(self, place: Place) -> float:
        record, target = self._record(place), self.state.until
        assert target is not None
        steps = None if record is None else steps_to(record, target)
        return math.inf if steps is None else steps * _per_step(self.state.sizes[place[0]])

    def _course(self, place: Place) -> Course:
        record = self._record(place)
        assert record is not None
        per_step = _per_step(self.state.sizes[place[0]])
        return Course.of(record, self.state.question, per_step=per_step)

    def _level(self, leader: Course) -> float:
        """The highest level at which runs are compared, signed so that higher is better."""
        target = self.state.until
        assert target is not None
        return min(leader.best, self.state.question.sign * target.value)

    def _record(self, place: Place) -> TrialRecord | None:
        return self.state.records.get((*self._lattice.cell(place), self.state.seeds.tune[0]))

    # ---- places

    def _new_beside(self, place: Place, stride: int) -> list[list[Place]]:
        """The rates beside it that were not raced, as many together as there are workers."""
        beside = (self._lattice.beside(place, sign * stride) for sign in (1, -1))
        new = [other for other in beside if other is not None and other not in self.costs]
        n = self.state.engine.n_workers
        return [new[i : i + n] for i in range(0, len(new), n)]

    def _apart(self, batch_size: int) -> float:
        """How many times the reference's it is, or of how many it is one part."""
        own = self._own[0]
        return max(batch_size / own, own / batch_size)

    def _new_size(self, batch_sizes: Iterable[int], apart: float) -> int | None:
        """Of those not raced yet the one about so many times apart from the reference's."""
        own, raced = self._own[0], {size for size, _ in self.costs}
        left = [size for size in batch_sizes if size not in raced]
        return _nearest(left, own * apart if max(left) > own else own / apart) if left else None

    def _whole_steps(self, place: Place) -> int:
        """As many passes as the pilot's; more where it takes longer to the target."""
        size, cost = self.state.sizes[place[0]], self._cost(place)
        steps = size.plan.steps_in(self.end.epochs)
        if math.isfinite(cost):
            steps = max(steps, math.ceil(BEYOND_THE_LEVEL * cost / _per_step(size)))
        return min(steps, self._longest_steps(size))

    def _longest_steps(self, size: Size) -> int:
        """Where the pilot was cut no run goes further: what is slower there may end better."""
        if self.state.end is None:
            return size.plan.steps_in(self.end.epochs)
        return size.longest_steps


def _per_step(size: Size) -> float:
    """The objective's cost of a step."""
    return math.exp(size.log_weight)


# With so many whole trainings of the reference left after the pilot, more can be shown than by a
# race.
_ENOUGH = 8.0
# What is soonest to the level at which a pilot was cut in this first part of a planned training, or
# anywhere if no end is planned, often has a rate too high for the end: so many octaves lower is
# named (benchmarks/results/regret.md).
_EARLY = 0.15
_OCTAVES_LOWER = 1


def end_to_race_to(state: StudyState, *, at_once: int) -> EndLevel | None:
    """What the pilot ended with, or was at when it was cut.

    None where the budget has trainings for more than a race, or a target was given.
    """
    question = state.question
    record = state.records.get((*state.reference_cell, state.seeds.tune[0]))
    is_asked = question.target is None and question.objective == "time"
    if not is_asked or state.until is None or record is None or record.has_failed:
        return None
    if state.end is None:
        return end_so_far(question, record)
    return state.end if has_fewer_left(state, _ENOUGH, at_once=at_once) else None


def concluded_by_race(state: StudyState, end: EndLevel) -> Conclusion:
    """The winner of a race, if it does not seem to end worse on fresh seeds; else the next.

    Where the pilot was cut far from the end, half of the rate that was soonest is named.
    """
    reference = state.reference_cell
    why = Reason.of("single_runs")
    race = Race(state=state, end=end)
    for cell in race.run():
        if cell == reference:
            break
        state.time_in_turn(state.sizes[cell[0]])
        gain = gain_of_single_runs(state, cell, state.seeds.tune[:1])
        if gain is not None and (gain.estimate or 1.0) < 1:
            continue
        verification = _followed(state, cell)
        endings = verification.endings
        if endings is None or not endings.gives_way:
            state.sizes[cell[0]].ruled_out = None  # another rate of it was
            named = _lower(state, cell) if _is_early(state) else cell
            return Conclusion(
                raced=named,
                soonest=cell,
                gain=gain_of_single_runs(state, named, state.seeds.tune[:1]),
                verification=verification,
                reason=why,
            )
        state.take_out(endings)
        state.sizes[cell[0]].search = None
    return Conclusion(raced=reference, reason=why)


def _is_early(state: StudyState) -> bool:
    """Whether the level is one that a training meets long before its end."""
    if state.end is not None:
        return False
    pilot = state.records[(*state.reference_cell, state.seeds.tune[0])]
    return pilot.steps < _EARLY * state.reference.longest_steps


def _lower(state: StudyState, cell: CellKey) -> CellKey:
    size, rate = cell
    octave = state.lattice.nearest(size, state.lattice.octave_of(rate) - _OCTAVES_LOWER)
    return size, min(rate, state.lattice.rate(octave))


def _followed(state: StudyState, cell: CellKey) -> Verification:
    """What fresh seeds say, as far as the budget reaches; else how it ended on the race's seed."""
    size, seed = state.sizes[cell[0]], state.seeds.tune[0]
    assert state.until is not None
    cost = steps_to(state.records[*cell, seed], state.until)
    size.search = RateSearch(size=size, learning_rate=cell[1], learning_cost=cost)
    if state.end is None:
        return Verification(batch_size=size.batch_size)
    found = verify(state, size)
    return replace(found, endings=found.endings or endings_of(state, (seed,), recommended=cell))
