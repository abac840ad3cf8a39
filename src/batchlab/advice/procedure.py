"""Procedure: which run comes next, until the budget ends or nothing more is to be learned."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from batchlab.advice.race import Course, slower_by
from batchlab.advice.run_log import RunLog
from batchlab.advice.study import Study, out_of_memory
from batchlab.belief.outlook import Outlook, Run
from batchlab.records.estimate import Reason
from batchlab.records.run import RunRequest
from batchlab.records.trial import Status, TrialRecord

# With fewer whole trainings in the budget what is named has to be likelier to be no worse.
_FEW, _CHANCE_WITH_FEW, _CHANCE = 6.0, 0.9, 0.8
# What is named and the reference are trained so many times if the budget allows it.
_CONFIRMED = 5
# The worth of so many further seeds at once is weighed, and how many run before that is done anew.
_AHEAD, _AT_ONCE = (1, 3, 8), 3
# Where no run promises so many octaves it ends.
_LEAST_GAIN = 0.002
# A run goes at most so many octaves of batch size away from what met the level, and so many of
# rate off the ridge through that.
_REACH, _REACH_ACROSS = 3.0, 2.0
# With so many whole trainings every batch size is trained once before what promises most.
COVERS_FROM = 10.0
# A challenger's first stretch, of what the leader took to the level, and how stretches grow.
_STRETCH, _GROWTH = 0.25, 1.3
# It may take so much longer than the leader to a level that both have reached, more at first.
_SLACK, _SLACK_EARLY = 0.05, 0.6
# So far into what the leader took it is hardly evaluated.
_WATCHED_FROM = 0.2
# A run that was stopped is at most so much slower, in times, as far as that tells.
_MOST_SLOWER = 8.0
# A run may cost so much more than is left: the end of the budget cuts little of it.
_SLACK_OF_BUDGET = 1.02


@dataclass(kw_only=True, eq=False)
class Flight:
    """A run under way: a stretch of a challenger, or a whole training."""

    at: int
    seed: int
    request: RunRequest
    is_followed: bool
    leader: int = 0
    followed: float = 0.0  # cost that was asked for so far
    lead_cost: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """A run that is possible, with its cost in seconds of the budget."""

    run: Run
    cost_s: float
    is_followed: bool


class Procedure:
    """Runs what tells most; `explore` returns when nothing more is to be run."""

    def __init__(self, study: Study, *, n_whole: float) -> None:
        """Nothing was asked beside the pilot.

        Args:
            study: what is known.
            n_whole: how many whole trainings of the reference the budget has room for.
        """
        self.study, self.log = study, study.log
        self.least_chance = _CHANCE if n_whole >= _FEW else _CHANCE_WITH_FEW
        self._covers = n_whole >= COVERS_FROM
        self._flights: list[Flight] = []
        self._seeds_to_come: deque[tuple[int, int]] = deque()
        self.outlook: Outlook = study.outlook()

    def explore(self) -> int:
        """Run until nothing promises more; the configuration to name."""
        while True:
            while self._has_room and self._begin_next():
                pass
            if not self._flights:
                break
            self._take(*self.log.next_finished())
        self.look()
        return self.named

    def confirm(self, at: int) -> None:
        """Train a configuration and the reference on further seeds, as far as the budget goes."""
        while True:
            self.look()
            while self._has_room and self._begin_confirming(at):
                pass
            if not self._flights:
                return
            self._take(*self.log.next_finished())

    def follow(self, configurations: Sequence[int], leader: int) -> bool:
        """Follow challengers of a leader, side by side; False: the budget has no room."""
        begun = False
        for at in configurations:
            while not self._has_room:
                self._take(*self.log.next_finished())
            begun = self._begin_following(at, leader) or begun
        while self._flights:
            self._take(*self.log.next_finished())
        return begun

    def train(self, at: int) -> bool:
        """Train a configuration to its end on the first seed; False: the budget has no room."""
        if not self._begin_whole(at, 0):
            return False
        while self._flights:
            self._take(*self.log.next_finished())
        return 0 in self.study.cells[at].ends

    @property
    def _has_room(self) -> bool:
        return len(self._flights) < max(1, self.log.engine.n_workers)

    @property
    def named(self) -> int:
        """What would be named now."""
        return self.outlook.best(self.study.nameable, self.least_chance)

    def look(self) -> None:
        self.outlook = self.study.outlook()

    # ---- what comes next

    def _begin_next(self) -> bool:
        """Begin the run that comes next; False: there is none to be had."""
        while self._seeds_to_come:
            at, seed = self._seeds_to_come.popleft()
            if self._begin_whole(at, seed):
                return True
        self.look()
        if self._covers and self._begin_new_size():
            return True
        return self._begin_most_promising() or self._begin_confirming(self.named)

    def _begin_new_size(self) -> bool:
        """Follow a batch size that never ran, at the rate believed best; the cheapest first."""
        study = self.study
        flying = {study.cells[flight.at].cell[0] for flight in self._flights}
        new = [s for s in study.options if study.is_new_size(s) and s not in flying]
        for size in sorted(new, key=lambda size: study.weight[size] / size):
            at = [i for i, one in enumerate(study.cells) if one.cell[0] == size]
            best = max(at, key=lambda i: (self.outlook.utility[i], -i))
            if not study.cells[best].is_over and self._begin_following(best):
                return True
        return False

    def _begin_most_promising(self) -> bool:
        study, outlook, named = self.study, self.outlook, self.named
        nameable = study.nameable
        options = list(self._options(named))
        gains = np.array(
            [outlook.gains(one.run, nameable, named, self.least_chance) for one in options]
        ).reshape(-1, 2)
        # Where no one run can make a configuration likely enough, what may be better is looked at
        # all the same.
        gain = next((g for g in gains.T if g.max(initial=0.0) > _LEAST_GAIN), None)
        if gain is None:
            return False
        worth = gain / np.sqrt([one.cost_s for one in options])
        order = sorted(range(len(options)), key=lambda k: (-worth[k], k))
        return any(worth[k] > 0 and self._begin(options[k]) for k in order)

    def _begin_confirming(self, named: int) -> bool:
        """Train what would be named, or the reference, once more; False: both have enough."""
        study = self.study
        flying = [flight.at for flight in self._flights]
        pair = [] if named == study.own else [named, study.own]
        fits = [
            i
            for i in pair
            if not study.cells[i].is_over and study.whole_s(i) <= self.log.left_s()
        ]
        counts = {i: len(study.cells[i].ends) + flying.count(i) for i in fits}
        for i in sorted(counts, key=lambda i: (counts[i], pair.index(i))):
            if counts[i] < _CONFIRMED and self._begin_whole(i, self._fresh_seed(i)):
                return True
        return False

    def _options(self, named: int) -> Iterator[Option]:
        """Every run that the budget has room for and that the belief reaches."""
        study, left_s = self.study, self.log.left_s()
        flying = {flight.at for flight in self._flights}
        near = self._within_reach()
        cost = self.outlook.cost
        lead = named if study.cells[named].costs else self._leader()
        lead_cost = 2.0 ** float(cost[:, lead].mean())
        for i, one in enumerate(study.cells):
            if one.failed or one.is_over or i in flying or (not one.records and not near[i]):
                continue
            whole_s = study.whole_s(i)
            if not one.records:
                whole_cost = study.cost_of(i, study.whole_steps(i))
                share = float(np.minimum(2.0 ** cost[:, i], 1.2 * lead_cost).mean()) / whole_cost
                leads = float(np.mean(cost[:, i] < cost[:, lead]))
                to_level_s = share * whole_s
                rest_s = study.fraction * leads * max(0.0, whole_s - to_level_s)
                cost_s = max(1.2 * to_level_s + rest_s, 0.02 * whole_s)
                yield Option(run=self._run(i), cost_s=cost_s, is_followed=True)
                continue
            if 0 not in one.ends:
                paid_s = self.log.run_s(one.cell[0], one.records[0].steps)
                cost_s = max(whole_s - paid_s, 0.02 * whole_s)
                if not self.log.engine.capabilities.resumes:
                    cost_s = whole_s
                if cost_s <= _SLACK_OF_BUDGET * left_s:
                    yield Option(run=self._run(i), cost_s=cost_s, is_followed=False)
                continue
            for n in _AHEAD:
                if n * whole_s <= _SLACK_OF_BUDGET * left_s:
                    run = self._run(i, n_seeds=n)
                    yield Option(run=run, cost_s=n * whole_s, is_followed=False)

    def _run(self, i: int, *, n_seeds: int = 1) -> Run:
        one, study = self.study.cells[i], self.study
        is_continued = n_seeds == 1 and 0 in one.records and 0 not in one.ends
        return Run(
            at=i,
            n_seeds=n_seeds,
            shows_cost=study.log.until is not None
            and not (is_continued and 0 in one.reached_on),
            shows_end=study.question.target is None,
            end_error=1 - study.fraction,
        )

    def _within_reach(self) -> np.ndarray:
        study = self.study
        start = [i for i, one in enumerate(study.cells) if one.reached]
        start = start or [i for i, one in enumerate(study.cells) if one.records and not one.failed]
        start = start or [study.own]
        size = study.places.size
        apart = np.abs(size[:, None] - size[start])
        across = np.abs(
            study.places.rate[:, None]
            - study.places.rate[start]
            - study._prior.ridge * (size[:, None] - size[start])
        )
        return np.any((apart <= _REACH) & (across <= _REACH_ACROSS), axis=1)

    def _leader(self) -> int:
        """The best of those whose first seed met the level; if none did, what came nearest."""
        study, utility = self.study, self.outlook.utility
        met = [i for i, one in enumerate(study.cells) if one.reached and 0 in one.reached_on]
        if met:
            return max(met, key=lambda i: (utility[i], -i))
        ran = [i for i, one in enumerate(study.cells) if 0 in one.records and not one.failed]
        return min(
            ran or [study.own],
            key=lambda i: study.question.distance(study.cells[i].records[0]) if ran else 0,
        )

    # ---- runs

    def _begin(self, option: Option) -> bool:
        """Begin a possible run; False: the budget has no room for it."""
        at, study = option.run.at, self.study
        if option.is_followed:
            return self._begin_following(at)
        if 0 not in study.cells[at].ends:
            return self._begin_whole(at, 0)
        first = self._fresh_seed(at)
        n = min(option.run.n_seeds, _AT_ONCE)
        self._seeds_to_come.extend((at, first + k) for k in range(1, n))
        return self._begin_whole(at, first)

    def _fresh_seed(self, at: int) -> int:
        one = self.study.cells[at]
        if 0 not in one.ends:
            return 0
        flying = [flight.seed for flight in self._flights if flight.at == at]
        return max([*one.records, *flying]) + 1

    def _begin_whole(self, at: int, seed: int) -> bool:
        """Begin a whole training; False: there is no such seed, or no room."""
        one, study, engine = self.study.cells[at], self.study, self.log.engine
        if one.is_over or (engine.n_seeds is not None and seed >= engine.n_seeds):
            one.is_over = True
            return False
        if self.study.whole_s(at) > _SLACK_OF_BUDGET * self.log.left_s() and not one.records:
            return False
        request = self.log.request(one.cell, seed, steps=study.whole_steps(at), whole=True)
        if self.log.expected_s([request]) > _SLACK_OF_BUDGET * self.log.left_s():
            return False
        self._submit(Flight(at=at, seed=seed, request=request, is_followed=False))
        return True

    def _begin_following(self, at: int, leader: int | None = None) -> bool:
        """Follow a challenger on the first seed for as long as it may be sooner than the leader."""
        study = self.study
        leader = self._leader() if leader is None else leader
        costs = study.cells[leader].costs
        lead_cost = 2.0 ** (costs[0][0] if 0 in costs else float(self.outlook.cost[:, leader].mean()))
        flight = Flight(
            at=at,
            seed=0,
            request=self._stretch(at, _STRETCH * lead_cost, lead_cost),
            is_followed=True,
            leader=leader,
            followed=_STRETCH * lead_cost,
            lead_cost=lead_cost,
        )
        if self.log.expected_s([flight.request]) > self.log.left_s():
            return False
        self._submit(flight)
        return True

    def _stretch(self, at: int, cost: float, lead_cost: float) -> RunRequest:
        study = self.study
        cell = study.cells[at].cell
        weight = study.weight[cell[0]]
        whole = study.whole_steps(at)
        if not self.log.engine.capabilities.resumes:
            cost = (1 + _SLACK) * lead_cost  # a second stretch would begin anew
        watched = math.floor(_WATCHED_FROM * lead_cost / weight * cell[0])
        return self.log.request(
            cell, 0, steps=min(math.ceil(cost / weight), whole), watched_from_samples=watched
        )

    def _submit(self, flight: Flight) -> None:
        self._flights.append(flight)
        self.log.submit(flight.request, "tune" if flight.is_followed else "value")

    def _take(self, request: RunRequest, record: TrialRecord) -> None:
        flight = next(f for f in self._flights if f.request == request)
        self._flights.remove(flight)
        study = self.study
        if out_of_memory(record):
            size = study.cells[flight.at].cell[0]
            study.rule_out(size, record.reason or Reason.of("ended_as", status="oom"))
            return
        if flight.is_followed:
            self._take_stretch(flight, record)
            return
        study.take_in(flight.at, flight.seed, record)
        if flight.at == study.own:
            study.set_level()

    def _take_stretch(self, flight: Flight, record: TrialRecord) -> None:
        """Go on with a challenger, or take in what it showed."""
        study, at, level = self.study, flight.at, self.log.until
        asked = flight.request.last_step
        was_cut = record.status is Status.TIMEOUT and record.steps < asked
        crossing = None if record.has_failed or level is None else record.crossing(level)
        is_over = record.has_failed or record.has_ended_itself or asked >= study.whole_steps(at)
        if is_over or (crossing is not None and crossing.held):
            study.take_in(at, 0, record)
            return
        if len(record.evaluations) <= 1:
            if was_cut:
                study.take_in(at, 0, record)
                return
        elif was_cut or self._is_slow(flight, record):
            self._stop(flight, record, was_cut=was_cut)
            return
        flight.followed *= _GROWTH
        flight.request = self._stretch(at, flight.followed, flight.lead_cost)
        if flight.request.last_step > asked:
            if self.log.expected_s([flight.request]) <= self.log.left_s():
                self._submit(flight)
                return
            if len(record.evaluations) > 1:
                self._stop(flight, record, was_cut=True)
            return
        self._submit(flight) if study.log.engine.capabilities.resumes else self._stop(
            flight, record, was_cut=False
        )

    def _is_slow(self, flight: Flight, record: TrialRecord) -> bool:
        course, share, slower = self._compared(flight, record)
        allowed = 1 + _SLACK + _SLACK_EARLY * (1 - share)
        return slower > allowed or course.cost > (1 + _SLACK) * flight.lead_cost

    def _compared(self, flight: Flight, record: TrialRecord) -> tuple[Course, float, float]:
        """Its course, the share of the leader's cost, and how many times as slow it is."""
        question, level = self.study.question, self.log.until
        leader = self.study.cells[flight.leader]
        lead = self._course(leader.records[0], leader.cell[0])
        course = self._course(record, record.trial.batch_size)
        most = lead.best if level is None else min(lead.best, question.sign * level.value)
        slower = slower_by(course, lead, most=most)
        return course, min(1.0, course.cost / flight.lead_cost), slower

    def _stop(self, flight: Flight, record: TrialRecord, *, was_cut: bool) -> None:
        """Take in a challenger that is followed no further."""
        course, share, slower = self._compared(flight, record)
        if not was_cut:
            slower = max(slower, 1.2 * course.cost / flight.lead_cost)
        cost = math.log2(flight.lead_cost * min(max(slower, 0.01), _MOST_SLOWER))
        error = (0.3 if was_cut else 0.2) + 0.8 * (1 - share)
        self.study.take_in(flight.at, 0, record, guess=(cost, error))

    def _course(self, record: TrialRecord, size: int) -> Course:
        return Course.of(record, self.study.question, per_step=self.study.weight[size])


def n_whole_trainings(log: RunLog, whole_s: float) -> float:
    """How many whole trainings of the reference the budget has room for."""
    at_once: Sequence[int] = (1, log.engine.n_workers)
    return log.question.budget_s * min(2, max(at_once)) / whole_s
