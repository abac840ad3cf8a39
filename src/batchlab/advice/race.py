"""Race: batch size and rate from a handful of trainings, each run against the one that leads.

With few whole trainings no batch size can be valued on seeds of its own. So single runs are
compared, all on the seed of the pilot, and each only as far as it may win. The reference leads at
first. A challenger goes on in short stretches; it is dropped once it took clearly longer than the
leader to the best level that both have reached. Early ranks mislead: what wins there often has a
rate too high for the end. So what leads is trained to its end, and one that ends worse by more than
the margin gives way to the rates beside it, and these to a batch size nearer to the reference's.
What ends no worse is challenged by batch sizes further away (`race_sizes`).

Source: of the ways tried on the recorded trainings the best below eight whole trainings
(docs/regret.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from batchlab.advice.course import Course, slower_by
from batchlab.advice.end_level import EndLevel, last_values
from batchlab.advice.lattice import Lattice, Place
from batchlab.advice.race_sizes import RaceSizes
from batchlab.advice.run_log import CellKey, steps_to
from batchlab.advice.study_state import StudyState
from batchlab.advice.whole_training import BEYOND_THE_LEVEL, NEARLY_WHOLE
from batchlab.records.reason import Reason
from batchlab.records.run import RunRequest
from batchlab.records.trial import TrialRecord

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
    """The race of one study: `run` names a configuration.

    Attributes:
        state: the runs; the pilot has set the target.
        end: what the pilot ended with, or was at when it was cut.
        costs: what the runs took to the target; infinite: dropped, or missed.
        shortfalls: by how many margins whole trainings ended worse than the pilot.
    """

    state: StudyState
    end: EndLevel
    costs: dict[Place, float] = field(default_factory=dict)
    shortfalls: dict[Place, float] = field(default_factory=dict)
    _lead: Place = field(init=False)
    _turned_back: bool = False

    def __post_init__(self) -> None:
        reference = self.state.question.reference
        self._lattice = Lattice.of(self.state.run_log)
        self._own: Place = reference.batch_size, 0
        for (size, rate, _), record in self.state.run_log.records.items():
            if size == reference.batch_size and not record.has_failed:
                place = size, round(self._lattice.octave_of(rate))
                self.costs[place] = self._cost(place)
                self.shortfalls[place] = self._ended(place)
                if math.isclose(rate, self.end.learning_rate, rel_tol=1e-3):
                    self.shortfalls[place] = 0.0
        costs = {o.batch_size: self._per_step(o.batch_size) for o in self.state.options()}
        self._sizes = RaceSizes.of(self._own[0], costs)
        self._lead = self._soonest()

    def run(self) -> list[CellKey]:
        """Race until nothing is likely to be sooner, or the budget ends.

        Returns:
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
        self.state.run_log.reserved_s = 0.0
        return [self._lattice.cell(place) for place in self._ranking(last)]

    def times_as_long(self, cell: CellKey) -> float | None:
        """The reference's cost to the target over that of a cell; None: one of them missed it."""
        mine = (cost for place, cost in self.costs.items() if self._lattice.cell(place) == cell)
        own, found = self.costs[self._own], next(mine, math.inf)
        return own / found if math.isfinite(own) and math.isfinite(found) else None

    # ---- moves

    def _first(self) -> Place:
        size, octave = self._sizes.first, round(self.state.first_octave)
        if size == self._own[0]:
            return self._lead
        if size < self._own[0]:
            return self._lattice.as_scaled((self._own[0], octave), size)
        return size, self._lattice.nearest(size, _FIRST_OCTAVE + octave)

    def _climb(self, start: Place, *, stride: int) -> Place:
        """The best rate of a batch size: up or down in strides as long as that is sooner."""
        self._note_size(start[0])
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
        beside = [self._lattice.beside(place, sign * stride) for sign in (1, -1)]
        new = [other for other in beside if other is not None and other not in self.costs]
        for some in _in_groups(new, self.state.run_log.engine.n_workers):
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
        nearer = self._sizes.nearer(place[0], without=self._raced, is_far=is_far)
        if nearer is None:
            return None
        self._turned_back = True
        self._lead = self._soonest()
        return self._climb(self._lattice.as_scaled(place, nearer), stride=1)

    def _sooner_than(self, place: Place) -> Place | None:
        """A rate beside the one that leads, or a size further away; None: none is sooner."""
        beside = [self._lattice.beside(place, sign) for sign in (1, -1)]
        new = [other for other in beside if other is not None and other not in self.costs]
        for some in _in_groups(new, self.state.run_log.engine.n_workers):
            if self._challenge(some):
                return self._lead
        if self._turned_back:
            return None
        for times in (4, 2):
            further = self._sizes.further(place[0], times, without=self._raced)
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
        going, followed = list(places), _FIRST_STRETCH * whole
        while going and self._follow(going, followed, watched_from=_WATCHED_FROM * whole):
            going = [p for p in going if self._may_win(p, leader, whole, followed=followed)]
            followed *= _GROWTH
        self.costs.update({place: self._cost(place) for place in places if self._record(place)})
        best = min(places, key=self._order)
        if self._order(best) < self._order(self._lead):
            self._lead = best
        return self._lead == best

    def _may_win(self, place: Place, leader: Course, whole: float, *, followed: float) -> bool:
        """Whether to go on with a challenger that was asked to go on to `followed`."""
        record = self._record(place)
        if record is None or record.has_failed or math.isfinite(self._cost(place)):
            return False
        course = self._course(place)
        share = course.cost / whole
        # What was asked for, not what came back: a recording ends at an evaluation before it.
        is_whole = followed >= self._longest_steps(place[0]) * self._per_step(place[0])
        if share > 1 + _SLACK or is_whole:
            return False
        most = 1 + _SLACK + _SLACK_EARLY * (1 - min(1.0, share))
        return slower_by(course, leader, most=self._level(leader)) <= most

    def _follow(self, places: Iterable[Place], cost: float, *, watched_from: float) -> bool:
        """Run on to so much of the objective's cost; False: the budget does not reach for it."""
        run_log = self.state.run_log
        requests = []
        for place in places:
            per_step = self._per_step(place[0])
            steps = min(math.ceil(cost / per_step), self._longest_steps(place[0]))
            samples = watched_from / per_step * run_log.examples_per_step(place[0])
            requests.append(self._request(place, steps, watched_from_samples=math.floor(samples)))
        if run_log.expected_s(requests) > run_log.left_s():
            return False
        run_log.run(requests, "tune")
        return True

    def _shortfall(self, place: Place) -> float | None:
        """By how many margins its whole training ends worse; None: the budget does not reach."""
        if place in self.shortfalls:
            return self.shortfalls[place]
        run_log, steps = self.state.run_log, self._whole_steps(place)
        record = self._record(place)
        if record is None or not record.has_failed:
            run_log.reserved_s = 0.0
            request = self._request(place, steps, whole=True)
            if run_log.expected_s([request]) > _SLACK_OF_BUDGET * run_log.left_s():
                return None
            (record,) = run_log.run([request], "tune")
            is_whole = record.has_ended_itself or record.steps >= NEARLY_WHOLE * steps
            if not (record.has_failed or is_whole):
                return None
        self.costs[place] = self._cost(place)
        self.shortfalls[place] = self._ended(place)
        self._note_end(place)
        return self.shortfalls[place]

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
        return self._sign * worse / self.end.margin

    def _request(self, place: Place, steps: int, **settings: object) -> RunRequest:
        size, rate = self._lattice.cell(place)
        return self.state.run_log.request(
            batch_size=size,
            learning_rate=rate,
            seed=self.state.seeds.tune[0],
            steps=steps,
            **settings,  # type: ignore[arg-type]
        )

    def _reserve(self) -> None:
        """What leads is trained to its end first of all."""
        self.state.run_log.reserved_s = 0.0
        if self._lead not in self.shortfalls:
            request = self._request(self._lead, self._whole_steps(self._lead), whole=True)
            self.state.run_log.reserved_s = self.state.run_log.expected_s([request])

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
        if record is None or record.has_failed:
            return False
        if record.has_ended_itself:
            return False
        is_short = record.steps < NEARLY_WHOLE * self._whole_steps(place)
        return is_short and math.isinf(self._cost(place))

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
        record, target = self._record(place), self.state.run_log.until
        assert target is not None
        steps = None if record is None else steps_to(record, target)
        return math.inf if steps is None else steps * self._per_step(place[0])

    def _course(self, place: Place) -> Course:
        record = self._record(place)
        assert record is not None
        return Course.of(record, self.state.question, per_step=self._per_step(place[0]))

    def _level(self, leader: Course) -> float:
        """The highest level at which runs are compared, signed so that higher is better."""
        target = self.state.run_log.until
        assert target is not None
        return min(leader.best, self._sign * target.value)

    def _record(self, place: Place) -> TrialRecord | None:
        return self.state.run_log.records.get(
            (*self._lattice.cell(place), self.state.seeds.tune[0])
        )

    @property
    def _sign(self) -> int:
        return 1 if self.state.question.better == "higher" else -1

    # ---- places

    @property
    def _raced(self) -> set[int]:
        return {size for size, _ in self.costs}

    def _per_step(self, batch_size: int) -> float:
        return math.exp(self.state.log_weight(batch_size))

    def _whole_steps(self, place: Place) -> int:
        """As many passes as the pilot's; more where it takes longer to the target."""
        run_log, cost = self.state.run_log, self._cost(place)
        steps = run_log.plan(place[0]).steps_in(self.end.epochs)
        if math.isfinite(cost):
            steps = max(steps, math.ceil(BEYOND_THE_LEVEL * cost / self._per_step(place[0])))
        return min(steps, self._longest_steps(place[0]))

    def _longest_steps(self, batch_size: int) -> int:
        """Where the pilot was cut no run goes further: what is slower there may end better."""
        run_log = self.state.run_log
        if self.state.end is None:
            return run_log.plan(batch_size).steps_in(self.end.epochs)
        return run_log.longest_steps(batch_size)

    # ---- the log

    def _note_size(self, batch_size: int) -> None:
        size, rate = self._lattice.cell(self._lead)
        lead = Reason.of("a_configuration", size=size, rate=rate)
        self.state.run_log.note(
            Reason.of("race_size", size=batch_size), Reason.of("race_against", lead=lead)
        )

    def _note_end(self, place: Place) -> None:
        size, rate = self._lattice.cell(place)
        self.state.run_log.note(
            Reason.of("race_ended", size=size, rate=rate),
            Reason.of("race_ends_worse_by", margins=self.shortfalls[place]),
        )


def _in_groups(places: Sequence[Place], n: int) -> list[list[Place]]:
    """At most so many at once, in their order."""
    return [list(places[i : i + n]) for i in range(0, len(places), n)]
