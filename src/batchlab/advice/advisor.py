"""The advisor: what an advice does with its budget, knowing of training only an Engine.

In this order, and in these words:

- pilot: train the reference to its end, which sets the level where none was given;
- tune a batch size: search for its learning rate; confirm the rate: ask a further seed about it;
- value it: train at that rate on seeds that had no part in choosing it (its valuations), whose mean
  steps to the level are its figure;
- explore: tune and value batch sizes, outwards from the reference's, while they may be better;
- allocate: add runs where the decision between them is open;
- verify: train what is to be named beside the reference, on seeds that chose nothing.

Where the budget has too few trainings for that, a race of single runs follows the pilot.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence

from batchlab.advice.advice import Advice, Question
from batchlab.advice.allocation import allocate, explore, look, look_at_the_rest
from batchlab.advice.answer import answered
from batchlab.advice.conclusion import concluded
from batchlab.advice.level import (
    Pilots,
    TargetLevel,
    easier,
    end_as,
    ends_early,
    of_the_worst,
    untrained_value,
)
from batchlab.advice.race import concluded_by_race, end_to_race_to
from batchlab.advice.run_log import CellKey, RunLog, RunWatcher, why_it_failed
from batchlab.advice.scaled_step import ScaledStep, scaled_step
from batchlab.advice.study_state import Size, StudyState
from batchlab.advice.tuning import run_valuations, tune
from batchlab.advice.verification import Conclusion
from batchlab.advice.whole_trainings import has_fewer_left, reserve, reserve_shortly
from batchlab.errors import UsageError
from batchlab.laws.plateau import plateau_of
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.run import OUT_OF_TIME
from batchlab.records.study import BestSoFar
from batchlab.records.trial import TrialRecord
from batchlab.runs.contract import Engine

# A pilot may take so much of the budget to see the end of a training. If it does not see it, the
# target is what it was at, and the answer no recommendation.
_PILOT_SHARE = 0.5
# After this part of it what its runs cost is known better, and how far it may go is reckoned anew.
_FIRST_PART = 1 / 8
# A tuned rate may meet the target so many times sooner than the faster of the pilots.
_TUNED_IS_FASTER = 2.0
_SEARCH_SHARE = 1 / 8
# Octaves above the reference rate that pilots begin at: where the first ones diverge or learn
# nothing, the rate is far off, on either side.
_PILOT_OCTAVES = ((0, 2), (-4, -6), (5, 7), (-10, -12), (10, 12))
# A level given by the user is searched for in steps of two octaves: the reference rate may be far.
_COARSE = (2, 1)
# Where the budget has left fewer whole trainings of the reference than that, one seed sets the
# level and values the reference: what more would bring is spent better on other batch sizes.
_DEAR = 30.0
# With fewer than that, one after the other, two octaves are fine enough for the reference's rate:
# the runs of its search wait for each other.
_FEW_BY_THE_CLOCK = 12.0
# A single run takes as long on many cores as on one, and what follows it waits: of the budget's
# cores so many count for the runs that all others wait for.
_MOST_AT_ONCE = 2


def advise(
    question: Question,
    engine: Engine,
    *,
    watcher: RunWatcher | None = None,
    with_all_options: Callable[[], Question] | None = None,
    in_turn: Callable[[int, int], Estimate | None] | None = None,
) -> Advice:
    """Decide the question with runs of the engine, within its budget.

    It is deterministic: the same answers and clock readings of the engine give the same asks and
    the same advice, so that an interrupted study can be replayed.

    `watcher` is told which runs are asked for; nothing is decided by it. `with_all_options` gives
    the question with all its options: asked after the first part of the pilot, while nothing runs,
    for until then it has the reference's alone. `in_turn` is as in `StudyState`.

    Raises:
        UsageError: the target is met before the first step.
    """
    state = StudyState(question=question, engine=engine, until=question.target)
    state.watcher, state.in_turn = watcher, in_turn
    return _Advisor(state, with_all_options).advice()


class _Advisor:
    def __init__(self, state: StudyState, with_all_options: Callable[[], Question] | None) -> None:
        self._state, self._with_all_options = state, with_all_options
        self._origin = state.question.target_origin
        self._has_searched = False  # batch sizes were tuned and compared

    @property
    def _question(self) -> Question:
        return self._state.question

    def advice(self) -> Advice:
        if (why := self._question.not_comparable) is not None:
            return answered(self._state, Conclusion(reason=why), origin=self._origin)
        outcome = self._outcome()
        if (without := self._without_remaining_error()) is not None:
            # By rates of which the better ones have no figure nothing was tuned.
            for size in self._state.tuned:
                size.search = None
            outcome = Conclusion(reason=without)
        scaled = self._instead_of_yours(outcome)
        if self._has_searched:
            look_at_the_rest(self._state)
        return answered(self._state, outcome, origin=self._origin, scaled=scaled)

    def _instead_of_yours(self, outcome: Conclusion) -> ScaledStep | None:
        """A scaled step, where the answer would stay with the reference for now."""
        if self._question.target is not None or self._question.objective != "time":
            return None
        for_now = answered(self._state, outcome, origin=self._origin).provisional
        return scaled_step(self._state) if for_now == self._question.reference else None

    def _outcome(self) -> Conclusion:
        state, question = self._state, self._question
        if (note := state.reference.option.note) is not None:
            size = question.reference.batch_size
            return Conclusion(reason=Reason.of("reference_cannot_run", size=size, why=note))
        needs_target = question.target is None and question.objective != "quality"
        stopped = self._pilot() if needs_target else None
        end = end_to_race_to(state, at_once=self._at_once)
        if stopped is None and end is not None:
            return concluded_by_race(state, end)
        stopped = stopped or self._tune_reference() or self._without_remaining_error()
        if stopped is not None:
            return Conclusion(reason=stopped)
        reserve(state, exploring=True)
        explore(state)
        reserve(state)
        look(state)
        decision = allocate(state)
        if decision is not None and decision.verdict == "cannot_tell" and state.end is None:
            reserve_shortly(state)
            if state.engine.n_seeds is not None:
                state.seeds = state.seeds.verifying_with_one()
            decision = allocate(state)
        if decision is None:
            if "value" not in state.purposes.values():
                return Conclusion(reason=Reason.of("nothing_left_for_fresh_seeds"))
            return Conclusion(reason=Reason.of("none_met_on_fresh_seed"))
        self._has_searched = True
        return concluded(state, decision)

    def _without_remaining_error(self) -> Reason | None:
        """That runs are compared by their remaining errors, and one has none that is a number."""
        question = self._question
        if question.objective != "quality":
            return None
        for record in self._state.records.values():
            was_scored = question.best_value(record) is not None
            if record.ended_well and was_scored and self._state.learning_cost(record) is None:
                return Reason.of("no_distance_from_perfect", metric=question.metric)
        return None

    # ---- the target and the reference

    def _tune_reference(self) -> Reason | None:
        """Tune the reference batch size; what stopped it, or None."""
        question, state = self._question, self._state
        size, limit = state.reference, state.reference.longest_steps
        if state.end is not None:
            # A rate worth choosing meets the level before the reference's own training is over.
            limit = min(limit, size.whole_steps)
        if question.objective == "quality":
            limit = min(limit, size.horizon_steps)
        else:
            # The pilot may have taken longer than planned: four runs must still fit.
            left_s = min(_SEARCH_SHARE * question.budget_s, max(0.0, state.left_s()) / 4)
            limit = min(limit, size.affordable_steps(left_s * self._at_once))
        state.note(
            Reason.of("tune_reference", size=size.batch_size),
            Reason.of("tune_from_own_rate", rate=question.reference.learning_rate, limit=limit),
        )
        is_dear = self._is_dear(_DEAR, at_once=self._at_once)
        is_coarse = self._is_dear(_FEW_BY_THE_CLOCK, at_once=1)
        strides = _COARSE[:1] if is_coarse else _COARSE
        tuned = tune(state, size, limit_steps=limit, strides=strides)
        for record in tuned.records:
            self._refuse_target_met_untrained(record)
        if not tuned.records:
            return Reason.of("budget_ended_before_reference")
        if tuned.learning_rate is None and (stopped := self._nothing_met(tuned.records, limit)):
            return stopped
        run_valuations(state, size, 1 if is_dear else 2)
        if size.ruled_out is not None:
            return Reason.of("reference_ruled_out", size=size.batch_size, why=size.ruled_out)
        return None

    def _is_dear(self, few: float, *, at_once: int) -> bool:
        """Whether the budget has few whole trainings of the reference left."""
        if self._state.end is None:
            # A pilot that did not get to its end was cut.
            return self._origin == "easier"
        return has_fewer_left(self._state, few, at_once=at_once)

    @property
    def _at_once(self) -> int:
        return min(self._state.engine.n_workers, _MOST_AT_ONCE)

    def _pilot(self) -> Reason | None:
        """Train the reference to its end, or for its share of the budget, and set the target."""
        question, state = self._question, self._state
        reference, size = question.reference, state.reference
        limit = self._pilot_limit()
        state.note(
            Reason.of("pilot", epochs=size.plan.epoch_at(limit)), Reason.of("pilot_sets_target")
        )
        any_rate = state.engine.learning_rates(reference.batch_size) is None
        records: list[TrialRecord] = []
        todo = list(_PILOT_OCTAVES) if any_rate else [(0,)]
        while todo:
            # A faster rate beside it costs nothing where two runs fit, and may end better.
            rates = [reference.learning_rate * math.exp2(octave) for octave in todo.pop(0)]
            records += self._until_its_end(rates[: state.engine.n_workers], limit)
            own = records[0]
            if own.has_failed and not own.has_diverged:
                return Reason.of("pilot_stopped", why=why_it_failed(own))
            pilots = Pilots(question, records, planned_steps=size.longest_steps)
            if pilots.is_open:
                # Their rates are too low rather than too high.
                todo.sort(key=lambda octaves: octaves[0] < 0)
            if size.run_s(records[-1].steps) > state.left_s():
                todo = []
            level, state.hardly_learns = pilots.level, pilots.hardly_learns
            has_higher = any(octaves[0] > 0 for octaves in todo)
            if level is not None and not (pilots.is_open and has_higher):
                if state.hardly_learns is not None:
                    octave = math.log2(pilots.best.learning_rate / reference.learning_rate)
                    state.first_octave = round(octave)
                self._take(self._of_more_seeds(level, records))
                # Until the reference is tuned they say where its runs may meet the target.
                steps = [found for record in records if (found := state.learning_cost(record))]
                if steps:
                    state.tuned_steps[size.batch_size] = min(steps) / _TUNED_IS_FASTER
                return None
            if todo:
                state.note(
                    Reason.of("pilot_at_other_rates"),
                    Reason.of("nothing_learned_at", rate=rates[0]),
                )
        if all(record.has_failed for record in records):
            return Reason.of("every_pilot_failed", why=why_it_failed(own))
        if own.reason == OUT_OF_TIME:
            return Reason.of("budget_ended_before_reference")
        tried = [record.trial.learning_rate for record in records]
        return Reason.of("no_pilot_learned", steps=own.steps, low=min(tried), high=max(tried))

    def _pilot_limit(self) -> int:
        """At how many steps a pilot is cut, if it is not at its end before."""
        size, share_s = self._state.reference, _PILOT_SHARE * self._question.budget_s
        return min(size.longest_steps, size.affordable_steps(share_s))

    def _of_more_seeds(self, level: TargetLevel, pilots: Sequence[TrialRecord]) -> TargetLevel:
        """The level with a second seed of the run that set it, where that is cheap.

        Where the two differ by more than the margin, two more say how far seeds scatter.
        """
        question, state = self._question, self._state
        # With these it can be reckoned what is left.
        state.until, state.end = level.target, level.end
        if level.end is None:
            return level
        ends, rate = [level.end], level.end.learning_rate
        steps = next(run.steps for run in pilots if run.trial.learning_rate == rate)
        for seeds in (state.seeds.tune[1:2], state.seeds.tune[2:]):
            if not seeds or self._is_dear(_DEAR, at_once=self._at_once):
                break
            runs = [(rate, seed) for seed in seeds]
            again = self._pilots(runs, steps, whole=True)
            ends += [end for run in again if (end := end_as(question, level.end, run)) is not None]
            values = [end.value for end in ends]
            if max(values) - min(values) <= level.end.margin:
                break
        return level if len(ends) == 1 else of_the_worst(question, ends)

    def _until_its_end(self, rates: list[float], limit: int) -> list[TrialRecord]:
        """Runs of the reference batch size, doubled in length until the first is at its end."""
        runs = [(rate, self._state.seeds.tune[0]) for rate in rates]
        size = self._state.reference
        looked_from = size.plan.steps_in(4)
        # What an evaluation costs, and a step beside other runs, is known once some were run.
        steps = min(looked_from, math.ceil(_FIRST_PART * limit))
        while True:
            limit = min(limit, self._pilot_limit())
            steps = min(steps, limit)
            is_planned_end = steps >= size.longest_steps
            records = self._pilots(runs, steps, whole=is_planned_end)
            if self._with_all_options is not None:
                self._state.ask(self._with_all_options())
                self._with_all_options = None
            if is_planned_end or records[0].has_failed:
                return records
            if steps >= looked_from and ends_early(self._question, records[0]):
                return self._pilots(runs, steps, whole=True)
            if steps >= limit:
                return records
            steps = max(looked_from, 2 * steps)

    def _pilots(
        self, runs: Sequence[tuple[float, int]], steps: int, *, whole: bool
    ) -> list[TrialRecord]:
        """So many steps at each rate and seed; whole trainings are shown with their test data."""
        requests = [
            self._state.request(
                (self._question.reference.batch_size, rate),
                seed,
                steps=steps,
                whole=whole,
                # Nothing is decided by the curve of its first epoch, and 64 marks lie there.
                watched_from_samples=self._question.n_train,
            )
            for rate, seed in runs
        ]
        return self._state.run(requests, "pilot")

    def _take(self, level: TargetLevel) -> None:
        state, target = self._state, level.target
        state.until, state.end, self._origin = target, level.end, level.origin
        state.note(Reason.of("target_set", metric=target.metric, value=target.value), level.why)

    def _nothing_met(self, records: list[TrialRecord], limit: int) -> Reason | None:
        """No run met the target: take one that can be met, or say why not."""
        question = self._question
        target = self._state.until
        if all(record.has_failed for record in records):
            size, why = question.reference.batch_size, why_it_failed(records[0])
            return Reason.of("reference_rates_failed", size=size, why=why)
        if target is None:
            return Reason.of("no_distance_from_perfect", metric=question.metric)
        metric, value = target.metric, target.value
        steps = min(record.steps for record in records if not record.has_failed)
        why = Reason.of("reference_never_met", metric=metric, value=value, steps=steps)
        best = min(records, key=question.distance)
        plateau = plateau_of(best, metric=question.metric, better=question.better)
        if plateau.verdict == "reached":
            return Reason.of("plateau_below_target", why=why, rate=best.trial.learning_rate)
        level = easier(question, records, why=Reason.of("best_met_this_one", why=why))
        if level is None:
            return Reason.of("none_beat_untrained", why=why)
        self._take(level)
        tune(self._state, self._state.reference, limit_steps=limit)
        return why if self._state.reference.cell is None else None

    def _refuse_target_met_untrained(self, record: TrialRecord) -> None:
        target = self._state.until
        if target is None:
            return
        value = untrained_value(record, target.metric)
        if target.met_by(value):
            raise UsageError(
                f"target {target.metric}={target.value:g}: it is met before the first step (the "
                f"untrained model has {value:g}); give a level that takes training"
            )


def best_so_far(run_log: RunLog) -> BestSoFar | None:
    """What leads by the mean over its seeds, None before any run met the target.

    Neither a batch size that was ruled out leads, nor a rate at which a run failed or missed the
    target. Nothing is certain about it: with few seeds the best of many looks better than it is.
    """
    question = run_log.question
    figures: dict[CellKey, list[float | None]] = defaultdict(list)
    for (batch_size, learning_rate, _), record in run_log.records.items():
        if batch_size not in run_log.ruled_out:
            figures[batch_size, learning_rate].append(_figure(run_log, record))
    means = {
        cell: statistics.fmean(known)
        for cell, found in figures.items()
        if len(known := [figure for figure in found if figure is not None]) == len(found)
    }
    if not means:
        return None
    is_metric = question.objective == "quality"
    most = is_metric and question.better == "higher"
    cell = min(means, key=lambda each: (-means[each] if most else means[each], each))
    quantity = {"time": "time_to_target_s", "samples": "samples_to_target"}
    return BestSoFar(
        batch_size=cell[0],
        learning_rate=cell[1],
        quantity=quantity.get(question.objective, question.metric),
        value=means[cell],
    )


def _figure(run_log: RunLog, record: TrialRecord) -> float | None:
    """Seconds or examples to the target, or the metric itself; None: it has none."""
    question = run_log.question
    if question.objective == "quality":
        return question.best_value(record) if record.ended_well else None
    steps = None if run_log.until is None else run_log.learning_cost(record)
    if steps is None:
        return None
    option = next(o for o in question.options if o.batch_size == record.trial.batch_size)
    size = Size(run_log=run_log, option=option)
    if question.objective == "samples":
        return steps * size.examples_per_step
    step_s = option.step_s.estimate
    return None if step_s is None else steps * step_s
