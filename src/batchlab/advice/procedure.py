"""Procedure: choose the next run until the budget is spent or no run promises enough gain."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchlab.advice.advice import LIKELY
from batchlab.advice.run_log import is_whole
from batchlab.advice.study import AdviceStudy, missed
from batchlab.belief.outlook import Outlook, Run
from batchlab.records.estimate import Reason
from batchlab.records.run import OUT_OF_TIME, RunRequest
from batchlab.records.trial import Status, TrialRecord

Array = NDArray[np.float64]

# With a budget of at least this many whole trainings, train every batch size once at first.
_COVERS_FROM = 10.0
# If only whole trainings are compared, train the reference configuration this often at first.
_REFERENCES = 3
# To confirm an answer, train it and what it is compared with at most this many times. Without a
# limit, a study would go on until chance makes the answer look worse than the reference.
_CONFIRMED = 5
# For each configuration, compute the gain from 1, 3 or 8 further seeds together, but start at most
# `_AT_ONCE` seeds before gains are computed again.
_AHEAD, _AT_ONCE = (1, 3, 8), 3
# The most seeds of a configuration, because further seeds hardly add information.
_MOST_SEEDS = 12
# Gains are computed for at most this many best configurations, to save computing time.
_IN_QUESTION = 16
# The procedure ends if no run is expected to reduce log2 of the cost by more than this.
_LEAST_GAIN = 0.002
# Try only configurations near one that reached the target. They differ by at most `_REACH` octaves
# in batch size. After scaling for the batch size, their learning rates differ by at most
# `_REACH_ACROSS` octaves.
_REACH, _REACH_ACROSS = 3.0, 2.0
# A challenger (see `Flight`) is trained in stretches. The first stretch ends at a cost of
# `_STRETCH` times the leader's, and each further stretch at `_GROWTH` times the cost before.
_STRETCH, _GROWTH = 0.25, 1.3
# Stop a challenger (see `Flight`) that needs over 1 + `_SLACK` times the leader's cost to reach the
# same value. Early in its run, `_SLACK_EARLY` more is tolerated; later, less and less.
_SLACK, _SLACK_EARLY = 0.05, 0.6
# Up to this fraction of the best configuration's cost, other configurations are rarely evaluated.
_WATCHED_FROM = 0.2
# The cost inferred for a stopped run is at most this many times the best configuration's.
_MOST_SLOWER = 8.0
# The standard error of log2 of the cost that is inferred for a run stopped as too slow, and for a
# run cut by the budget. The earlier the run stopped, the more of `_EARLIER` is added.
_STOPPED, _CUT, _EARLIER = 0.2, 0.3, 0.8
# A run may begin if it costs up to 2 % more than the budget left, because little is then cut off.
_SLACK_OF_BUDGET = 1.02
_LEAST_SHARE = 0.02  # The least cost assumed of a run, as a fraction of a whole training's.


class Flight(NamedTuple):
    """A run in progress: a training to its end, or one stretch of a challenger's training.

    A challenger is a configuration that is trained stretch by stretch, while it may be faster than
    the leader, which is the best configuration so far.
    """

    at: int  # the index of the configuration
    seed: int
    leader: int | None = None  # The index of the leader; None if the run is trained to its end.
    lead_cost: float = 0.0  # The leader's cost to the target.
    asked: float = 0.0  # The challenger's cost at the end of the stretch that is now running.


class Procedure:
    """The choice of the most useful runs; `explore` makes runs until none promises enough gain."""

    def __init__(self, study: AdviceStudy, *, n_whole: float) -> None:
        """Compute the first belief about all configurations, from the pilot's runs.

        Args:
            study: the configurations and their runs.
            n_whole: how many whole reference trainings the budget can pay for.
        """
        self.study, self.log = study, study.log
        self._covers = n_whole >= _COVERS_FROM
        self._flights: dict[RunRequest, Flight] = {}
        self._seeds_to_come: deque[int] = deque()  # configurations that get one more seed
        self._why_none = Reason.of("none_possible")  # why the latest choice began no run
        self._is_out_of_time = False  # Whether the budget has cut or refused a run.
        self.outlook: Outlook = study.outlook()

    @property
    def named(self) -> int:
        """The configuration that the advice would report if the study ended now.

        This is the best configuration that is likely no worse than the baseline; if there is none,
        it is the baseline. The baseline is the user's configuration. If the user gave none, it is
        the default batch size at its best learning rate.
        """
        study, outlook, nameable = self.study, self.outlook, self.study.nameable
        met = study.where(lambda one: one.met)
        if study.question.objective != "samples" or not met:
            return outlook.best(nameable, LIKELY)
        # Choose the largest size likely to need at most 1 + `delta` times the fewest examples.
        behind = outlook.mean_cost - outlook.mean_cost[:, met].min(axis=1, keepdims=True)
        near = np.mean(behind <= math.log2(1 + study.question.delta), axis=0)
        is_likely = np.minimum(near, outlook.chance) >= LIKELY
        fine = {*nameable} & {*met} & {*np.flatnonzero(is_likely).tolist()}
        stays = outlook.stays(nameable)
        return max(fine or [stays], key=lambda i: (study.sizes[i], outlook.utility[i], -i))

    def look(self) -> None:
        """Update the belief about all configurations from all runs."""
        self.outlook = self.study.outlook()
        if self.log.watcher is not None:
            leader = self.study.cells[self.named].cell
            self.log.watcher.best(leader.batch_size, leader.learning_rate)

    # ---- public actions

    def explore(self) -> int:
        """Make runs until none promises enough gain; return the configuration to report."""
        self._run(self._begin_next)
        self.log.note(Reason.of("no_further_run"), self._why_none)
        return self.named

    def confirm(self, at: int) -> None:
        """Train a configuration, and those it is compared with, on more seeds within the budget."""
        self._run(lambda: self._begin_confirming(at))

    def follow(self, challengers: Sequence[int], leader: int) -> None:
        """Train each challenger while it may be faster than the leader, on all free workers."""
        todo = deque(self.study.where(lambda one: not one.is_over, among=challengers))
        self._run(lambda: bool(todo) and (self._begin_chase(todo.popleft(), leader) or bool(todo)))

    def train(self, at: int) -> bool:
        """Train a configuration to its end on seed 0; return False if the budget is too small."""
        todo = [at]
        self._run(lambda: bool(todo) and self._begin_training(todo.pop()))
        return 0 in self.study.cells[at].ends

    def _run(self, begin: Callable[[], bool]) -> None:
        """Call `begin`, which starts a run, whenever a worker is free, until no run is left."""
        while True:
            if self._has_room:
                self.look()
            while self._has_room and not self._is_out_of_time and begin():
                pass
            if not self._flights:
                return
            self._take(*self.log.next_finished())

    @property
    def _has_room(self) -> bool:
        return len(self._flights) < max(1, self.log.engine.n_workers)

    @property
    def _flying(self) -> list[int]:
        """The configuration of each run in progress, one entry per run."""
        return [flight.at for flight in self._flights.values()]

    def _n_trainings(self, at: int) -> int:
        """Count the trainings of a configuration, including runs in progress."""
        return len(self._shown(at)) + self._flying.count(at)

    # ---- choice of the next run

    def _begin_next(self) -> bool:
        """Begin the next run; return False if no run is worth its cost."""
        while self._seeds_to_come:
            if self._begin_training(self._seeds_to_come.popleft()):
                return True
        if self._covers and (self._begin_reference() or self._begin_new_size()):
            return True
        return self._begin_most_promising() or self._begin_confirming(self.named)

    def _begin_reference(self) -> bool:
        """Begin the next of three whole reference trainings; return False if none begins."""
        reference = self.study.own
        if not self.study.whole_only or self._n_trainings(reference) >= _REFERENCES:
            return False
        return self._begin_another(reference)

    def _begin_new_size(self) -> bool:
        """Train the batch size with the least cost per example, of those that have not run yet."""
        study = self.study
        new = {*study.options} - study.ran_sizes - {*study.sizes[self._flying]}
        for size in sorted(new, key=lambda size: (study.weight[size] / size, size)):
            best = self.outlook.most_useful(np.flatnonzero(study.sizes == size))
            if not study.cells[best].is_over and self._begin(self._shows(best)):
                self._note(best, Reason.of("not_trained"))
                return True
        return False

    def _begin_most_promising(self) -> bool:
        """Begin the run with the highest gain / sqrt(seconds); return False if gains are small."""
        named, nameable = self.named, self._in_question()
        possible = dict(self._possible(named))
        runs, costs_s = [*possible], [*possible.values()]
        both = [self.outlook.gains(run, nameable, named, LIKELY) for run in runs]
        gains = np.reshape(both, (-1, 2))
        # The first column of `gains` requires an answer that is likely no worse than the baseline.
        # The second does not, and is used only if no gain in the first column is large enough.
        promising = gains.T[gains.max(axis=0, initial=0.0) > _LEAST_GAIN]
        if runs and not len(promising):
            self._why_none = Reason.of("promises_no_more")
            return False
        self._why_none = Reason.of("none_possible")
        if not runs:
            return False
        worth = promising[0] / np.sqrt(costs_s)
        for k in np.argsort(-worth, kind="stable"):
            if worth[k] > 0 and self._begin(runs[k]):
                self._note(runs[k].at, Reason.of("promises", cost_s=costs_s[k]))
                return True
        return False

    def _begin_confirming(self, named: int) -> bool:
        """Begin one more training to confirm the answer `named`; return whether one was begun.

        Three configurations are compared: `named`, the baseline, and the user's batch size at its
        likely best rate. The one with the fewest trainings is trained.
        """
        stays = self.outlook.stays(self.study.nameable)
        if named == stays:
            return False
        compared = dict.fromkeys([named, stays, self.outlook.likely_tuned])
        for i in sorted(compared, key=self._n_trainings):
            if self._n_trainings(i) < _CONFIRMED and self.study.whole_s(i) <= self.log.left_s():
                if self._begin_another(i):
                    return True
        return False

    def _begin_another(self, at: int) -> bool:
        if not self._begin_training(at):
            return False
        self._note(at, Reason.of("to_confirm"))
        return True

    def _shown(self, at: int) -> dict[int, float] | dict[int, tuple[float, float]]:
        """Return a configuration's results by seed: final values, or steps to the user's target."""
        one = self.study.cells[at]
        if self.study.compares_ends:
            return one.ends
        return one.steps

    def _in_question(self) -> list[int]:
        """Return the configurations for which gains are computed.

        These are the reference configuration, the baseline, the present answer and the best others.
        """
        nameable, utility = self.study.nameable, self.outlook.utility
        best = sorted(nameable, key=lambda i: (-utility[i], i))[:_IN_QUESTION]
        keeps = {self.study.own, self.named, self.outlook.stays(nameable), *best}
        return [i for i in nameable if i in keeps]

    def _possible(self, named: int) -> Iterator[tuple[Run, float]]:
        """Yield each affordable run at or near trained configurations, and its expected seconds."""
        study, most_s = self.study, _SLACK_OF_BUDGET * self.log.left_s()
        flying, near = self._flying, self._within_reach()
        lead = named
        if not study.cells[named].steps:
            lead = self._leader()
        lead_cost = 2.0 ** float(self.outlook.cost[:, lead].mean())
        for i, one in enumerate(study.cells):
            if one.failed or one.is_over or i in flying or not (one.records or near[i]):
                continue
            whole_s = self._training_s(i)
            if not one.records:
                cost_s = self._chase_s(i, lead, lead_cost)
                if study.follows or cost_s <= most_s:
                    yield self._shows(i), cost_s
            elif 0 not in self._shown(i):
                paid_s = self.log.run_s(one.cell.batch_size, one.records[0].steps)
                if not self.log.engine.resumes:
                    paid_s = 0.0
                cost_s = max(whole_s - paid_s, _LEAST_SHARE * whole_s)
                if cost_s <= most_s:
                    yield self._shows(i), cost_s
            elif study.compares_ends or one.met:
                most = _MOST_SEEDS - len(self._shown(i))
                for n in _AHEAD:
                    cost_s = sum(self._training_s(i, seed) for seed in self._fresh_seeds(i, n))
                    if n <= most and cost_s <= most_s:
                        yield self._shows(i, n_seeds=n), cost_s

    def _chase_s(self, i: int, lead: int, lead_cost: float) -> float:
        """Return the expected seconds of a new challenger, with its whole training if it leads."""
        study, cost, whole_s = self.study, self.outlook.cost, self._training_s(i)
        if not study.follows:
            return whole_s
        size, most = study.cells[i].cell.batch_size, study.most_steps(i)
        if study.compares_ends:
            met_at = min(2.0 ** float(cost[:, i].mean()) / study.weight[size], most)
            whole_s = self.log.run_s(size, study.whole_steps(i, met_at=met_at))
        share = float(np.minimum(2.0 ** cost[:, i], 1.2 * lead_cost).mean())
        to_level_s = share / (most * study.weight[size]) * self.log.run_s(size, most)
        leads = float(np.mean(cost[:, i] < cost[:, lead]))
        rest_s = study.fraction * leads * max(0.0, whole_s - to_level_s)
        return max(1.2 * to_level_s + rest_s, _LEAST_SHARE * whole_s)

    def _training_s(self, i: int, seed: int = 0) -> float:
        """Return the expected seconds of one training, to its end or to the user's target."""
        study, whole_s = self.study, self.study.new_s(i, seed)
        if study.compares_ends:
            return whole_s
        whole_cost = study.whole_steps(i) * study.weight[study.cells[i].cell.batch_size]
        share = float(np.minimum(2.0 ** self.outlook.cost[:, i] / whole_cost, 1.0).mean())
        return max(1.2 * share * whole_s, 1e-9)

    def _shows(self, i: int, *, n_seeds: int = 1) -> Run:
        one = self.study.cells[i]
        # Continuing a run that already reached the target shows nothing new about the cost.
        is_continued = n_seeds == 1 and 0 in one.met_on and 0 not in one.ends
        return Run(i, n_seeds, shows_cost=self.study.follows and not is_continued)

    def _within_reach(self) -> NDArray[np.bool_]:
        study = self.study
        with_runs = study.where(lambda one: one.records)
        ran = study.where(lambda one: not one.failed, among=with_runs)
        start = study.where(lambda one: one.met, among=ran) or ran or with_runs or [study.own]
        apart = np.abs(study.places.size[:, None] - study.places.size[start])
        across = np.abs(study.off_ridge(start))
        near = (apart <= _REACH) & (across <= _REACH_ACROSS)
        return np.asarray(np.any(near, axis=1))

    def _leader(self) -> int:
        """Return the best configuration that reached the target on seed 0, or else came nearest."""
        study, distance = self.study, self.study.question.distance
        met = study.where(lambda one: one.met and 0 in one.met_on)
        if met:
            return self.outlook.most_useful(met)
        ran = study.where(lambda one: 0 in one.records and not one.failed)
        return min(ran, key=lambda i: distance(study.cells[i].records[0]), default=study.own)

    # ---- runs

    def _begin(self, run: Run) -> bool:
        """Begin a run of one or several seeds; return False if the budget is too small."""
        if self.study.follows and not self.study.cells[run.at].records:
            return self._begin_chase(run.at, self._leader())
        if not self._begin_training(run.at):
            return False
        self._seeds_to_come.extend([run.at] * (min(run.n_seeds, _AT_ONCE) - 1))
        return True

    def _fresh_seeds(self, at: int, n: int) -> list[int]:
        """Return the first n seeds that have no result yet and are not in progress."""
        taken = {*self._shown(at)}
        for flight in self._flights.values():
            if flight.at == at:
                taken.add(flight.seed)
        return sorted({*range(len(taken) + n)} - taken)[:n]

    def _begin_training(self, at: int) -> bool:
        """Begin a training that is not cut into stretches.

        Return False if no seed or too little budget is left.
        """
        study, engine = self.study, self.log.engine
        (seed,), one = self._fresh_seeds(at, 1), study.cells[at]
        if one.is_over or (engine.n_seeds is not None and seed >= engine.n_seeds):
            one.is_over = True
            return False
        to_its_end = study.compares_ends
        steps = study.whole_steps(at)
        request = self.log.request(one.cell, seed, steps=steps, whole=to_its_end)
        cost_s = self.log.expected_s(request) if to_its_end else self._training_s(at, seed)
        if cost_s > _SLACK_OF_BUDGET * self.log.left_s():
            return False
        self._submit(request, Flight(at, seed))
        return True

    def _begin_chase(self, at: int, leader: int) -> bool:
        """Begin to train a challenger on seed 0 for one stretch; return False if over budget."""
        study, lead = self.study, self.study.cells[leader]
        cost = float(self.outlook.cost[:, leader].mean())
        if 0 in lead.steps:
            cost = lead.steps[0][0] + math.log2(study.weight[lead.cell.batch_size])
        # A run that cannot be resumed gets one long stretch: a second one would start from step 0.
        first = _STRETCH if self.log.engine.resumes else 1 + _SLACK
        flight = Flight(at, 0, leader=leader, lead_cost=2.0**cost, asked=first * 2.0**cost)
        request = self._stretch(flight)
        if self.log.expected_s(request) > self.log.left_s():
            return False
        self._submit(request, flight)
        return True

    def _stretch(self, flight: Flight) -> RunRequest:
        study, cell = self.study, self.study.cells[flight.at].cell
        weight, most = study.weight[cell.batch_size], study.most_steps(flight.at)
        watched = math.floor(_WATCHED_FROM * flight.lead_cost / weight * cell.batch_size)
        steps = min(math.ceil(flight.asked / weight), most)
        return self.log.request(cell, 0, steps=steps, watched_from_samples=watched)

    def _note(self, at: int, why: Reason) -> None:
        """Log that the latest run, which is of configuration `at`, has begun, and why."""
        cell, seed = self.study.cells[at].cell, next(reversed(self._flights.values())).seed
        size, rate = cell.batch_size, cell.learning_rate
        self.log.note(Reason.of("train_configuration", size=size, rate=rate, seed=seed), why)

    def _submit(self, request: RunRequest, flight: Flight) -> None:
        self._flights[request] = flight
        self.log.submit([request], "whole" if flight.leader is None else "search")

    def _take(self, request: RunRequest, record: TrialRecord) -> None:
        """Add the record of a finished run to the study, or begin its next stretch."""
        flight = self._flights.pop(request)
        if record.reason == OUT_OF_TIME:
            self._is_out_of_time, self._why_none = True, Reason.of("none_possible")
        if flight.leader is not None:
            self._take_stretch(request, flight, record)
            return
        self.study.take_in(flight.at, flight.seed, record, guess=self._if_missed(flight, record))
        if flight.seed not in self._shown(flight.at):
            self.study.cells[flight.at].is_over = True  # the budget would cut another run too
        if flight.at in self.study.same_size:
            self.study.set_level()

    def _if_missed(self, flight: Flight, record: TrialRecord) -> tuple[float, float] | None:
        """Guess log2 of the steps to the user's target for a run that missed it, and the error.

        Return None if the run had fewer steps than it was expected to need, because then the miss
        shows nothing.
        """
        if self.study.compares_ends or not record.steps:
            return None
        weight = math.log2(self.study.weight[record.trial.batch_size])
        believed = float(self.outlook.cost[:, flight.at].mean()) - weight
        guess = missed(record.steps)
        if guess[0] <= believed:
            return None
        return guess

    def _take_stretch(self, request: RunRequest, flight: Flight, record: TrialRecord) -> None:
        """Begin the next stretch of a challenger's run, or end the run and store its result."""
        study, at, level, last_step = self.study, flight.at, self.log.until, request.last_step
        assert flight.leader is not None
        was_cut = record.status is Status.TIMEOUT and record.steps < last_step
        crossing = None if record.has_failed or level is None else record.crossing(level)
        is_over = record.has_failed or record.has_ended_itself or last_step >= study.most_steps(at)
        is_seen = len(record.evaluations) > 1
        if is_over and crossing is None and is_seen and not record.has_failed:
            came_to_end = is_whole(record, study.whole_steps(at))
            if not (came_to_end and study.cells[flight.leader].met):
                # The target counts as missed only after a whole training, and only if the leader
                # reached it. Otherwise infer the cost from a value that both reached.
                self._stop(flight, record, was_cut=True)
                return
        if is_over or (crossing is not None and crossing.held):
            study.take_in(at, 0, record)
            return
        has_lost = is_seen and not was_cut and self._has_lost(flight, record)
        # A run that cannot be resumed gets no further stretch: it would start from step 0.
        is_last = was_cut or not self.log.engine.resumes
        if has_lost or (is_last and is_seen):
            self._stop(flight, record, was_cut=not has_lost)
            return
        if is_last:
            study.take_in(at, 0, record)
            return
        while request.last_step <= last_step:
            flight = flight._replace(asked=_GROWTH * flight.asked)
            request = self._stretch(flight)
        if self.log.expected_s(request) <= self.log.left_s():
            self._submit(request, flight)
        elif is_seen:
            self._stop(flight, record, was_cut=True)

    def _has_lost(self, flight: Flight, record: TrialRecord) -> bool:
        """Return whether a challenger is slower than the leader, so that its run can be stopped.

        It is slower if it already cost 5 % more than the leader's whole training. It is also slower
        if it needed more cost to reach the same value: 65 % more early in its run, and 5 % more
        when its cost equals the leader's.
        """
        share, slower = self._compared(flight, record)
        return share > 1 + _SLACK or slower > 1 + _SLACK + _SLACK_EARLY * max(0.0, 1 - share)

    def _compared(self, flight: Flight, record: TrialRecord) -> tuple[float, float]:
        """Return a challenger's cost so far / the leader's cost, and `_slower_by` of both runs."""
        study, level = self.study, self.log.until
        assert flight.leader is not None
        course, lead = map(self._course, (record, study.cells[flight.leader].records[0]))
        most = math.inf if level is None else study.question.sign * level.value
        return float(course[0, -1]) / flight.lead_cost, _slower_by(course, lead, most=most)

    def _course(self, record: TrialRecord) -> Array:
        """Return a run's cost and best value until each of its n evaluations, shape (2, n).

        Values are negated if lower is better. A run without evaluations gets cost 0, value -inf.
        """
        question, per_step = self.study.question, self.study.weight[record.trial.batch_size]
        curve = list(record.curve("validation", question.metric))
        costs = [evaluation.step * per_step for evaluation, _ in curve] or [0.0]
        values = [question.sign * value for _, value in curve] or [-math.inf]
        return np.array([costs, np.maximum.accumulate(values)])

    def _stop(self, flight: Flight, record: TrialRecord, *, was_cut: bool) -> None:
        """Stop a challenger; guess its cost to the target, and add the guess to the study."""
        share, slower = self._compared(flight, record)
        study = self.study
        study.cells[flight.at].was_slower = not was_cut
        error = _CUT
        if not was_cut:
            error, slower = _STOPPED, max(slower, 1.2 * share)
        cost = flight.lead_cost * min(max(slower, 0.01), _MOST_SLOWER)
        steps = cost / study.weight[record.trial.batch_size]
        error += _EARLIER * max(0.0, 1 - share)
        study.take_in(flight.at, 0, record, guess=(math.log2(steps), error))


def _slower_by(challenger: Array, leader: Array, *, most: float) -> float:
    """Return the challenger's cost to reach a value / the leader's cost to reach the same value.

    The value is the best that both runs reached, but at most `most`. The result is infinite if the
    challenger never improved after its first evaluation, and 0 if only the leader never improved.
    """
    if challenger[1, -1] <= challenger[1, 0]:
        return math.inf
    if leader[1, -1] <= leader[1, 0]:
        return 0.0
    level = min(challenger[1, -1], leader[1, -1], most)
    leaders = _cost_to(level, leader)
    return _cost_to(level, challenger) / leaders if leaders > 0 else math.inf


def _cost_to(level: float, course: Array) -> float:
    """Return the cost at which a run reached `level`, interpolated between two evaluations."""
    costs, values = course
    k = int(np.searchsorted(values, level))
    if k == 0:
        return float(costs[0])
    share = (level - values[k - 1]) / (values[k] - values[k - 1])
    return float(costs[k - 1] + share * (costs[k] - costs[k - 1]))
