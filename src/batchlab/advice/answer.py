"""Answer: the advice that the state supports, put together as a record."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property

from batchlab.advice.advice import (
    ENDS_WORSE,
    Advice,
    Configuration,
    Endings,
    Expected,
    TargetOrigin,
    Verdict,
)
from batchlab.advice.allocation import runs_may_tell
from batchlab.advice.chance import LIKELY, at_the_edge, chance_of
from batchlab.advice.decision import (
    Decision,
    candidate,
    costs_of,
    horizon,
    laws_of,
    learning_cost,
    product,
)
from batchlab.advice.endings import seeds_to_tell, with_end
from batchlab.advice.level import easier
from batchlab.advice.run_log import CellKey
from batchlab.advice.scaled_step import ScaledStep
from batchlab.advice.study_state import Size, StudyState
from batchlab.advice.verification import Conclusion
from batchlab.advice.whole_trainings import N_SEEDS, compared_with, more_s_for_seeds
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.trial import Target

_LEAST_MORE = 0.5
_MOST_MORE = 4.0  # budgets: beyond it is no more than a guess
# With so many whole trainings, one after the other, most recorded studies tell more than a race.
_TO_TELL = 16.0
# A study with more than this of its budget left did not end for want of it.
_EARLY = 0.25


def _next_run_s(sizes: Iterable[Size]) -> float:
    """Seconds of the cheapest further run of those that are tuned; 0.0: none is."""
    return min((s.run_s(s.value_limit) for s in sizes if s.cell is not None), default=0.0)


def _seeds_are_used_up(state: StudyState, sizes: Iterable[Size]) -> bool:
    """Whether those of them that are tuned have no further seed to value."""
    tuned = [size for size in sizes if size.cell is not None]
    return bool(tuned) and all(len(s.valuations) >= len(state.seeds.value) for s in tuned)


def _is_early(state: StudyState) -> bool:
    budget_s = state.question.budget_s
    return budget_s - state.engine.spent_s() > _EARLY * budget_s


# With so many evaluations on the way a target is known well enough.
_MARKS = 10


def _marks_too_wide(state: StudyState, *cells: CellKey | None) -> list[Reason]:
    """That a script evaluates so seldom that the time to the target is hardly known."""
    until = state.until
    if until is None or state.engine.capabilities.keeps_cadence:
        return []
    for (size, rate, _), record in state.records.items():
        crossing = record.crossing(until) if (size, rate) in cells else None
        if crossing is not None and 2 * crossing.after_step <= crossing.step:
            n = math.ceil(_MARKS / record.trial.plan.epoch_at(crossing.step))
            return [Reason.of("marks_too_wide", metric=until.metric, n=n)]
    return []


_OPEN = ("better", "cannot_tell")


def answered(
    state: StudyState,
    outcome: Conclusion,
    *,
    origin: TargetOrigin,
    scaled: ScaledStep | None = None,
) -> Advice:
    """Return the advice; `scaled` is named where yours would stay."""
    return _Answer(state, outcome, origin).advice(scaled)


class _Answer:
    def __init__(self, state: StudyState, outcome: Conclusion, origin: TargetOrigin) -> None:
        self._state, self._question = state, state.question
        self._outcome, self._origin = outcome, origin
        self._decision, self._verification = outcome.decision, outcome.verification
        self._endings = outcome.endings
        self._costs = costs_of(state) if outcome.decision is not None else None

    def advice(self, scaled: ScaledStep | None) -> Advice:
        """With the chance of what is named; yours or `scaled`, where that is a first guess."""
        found, own = self.found(), self._question.reference
        if self._question.objective == "samples" and found.provisional is not None:
            # The fewest examples are not what is asked for, and no chance is known of the largest.
            return replace(found, provisional=own)
        if found.provisional == own:
            return self._scaled(found, scaled)
        chance, why = chance_of(found) or (None, None)
        if chance is None or why is None:
            return replace(found, chance=chance)
        if found.recommendation is not None or chance >= LIKELY:
            return replace(found, chance=chance, caveats=(why, *found.caveats))
        caveats = (why, *self._caveats(own), *self._why_ended_early(found.missing))
        return self._scaled(replace(found, provisional=own, caveats=caveats), scaled)

    def _scaled(self, staying: Advice, step: ScaledStep | None) -> Advice:
        """What stays with the reference, or takes a scaled step if there is one."""
        if step is None:
            return staying
        return replace(
            staying,
            provisional=self._at_rate(step.cell),
            chance=step.chance,
            gain=step.gain,
            endings=step.endings or staying.endings,
            caveats=(step.why, *staying.caveats),
        )

    def found(self) -> Advice:
        """What the runs say, before it is asked how likely that is."""
        verdict, reason, missing = self._verdict()
        decision, question = self._decision, self._question
        size = self._recommended(verdict)
        recommendation = None if size is None else self._recommendation(size)
        provisional = self._provisional() if size is None else None
        named = recommendation or provisional
        none = Estimate.cannot_tell(self._outcome.reason or Reason.of("nothing_to_compare"))
        gain = gain_from_batch_size = none
        if self._verification is not None and size is not None:
            gain = self._verification.gain
            gain_from_batch_size = self._verification.gain_from_batch_size
        elif self._outcome.gain is not None:
            gain = self._outcome.gain
        reference_cell, sizes = self._state.reference.cell, self._state.sizes.values()
        return Advice(
            verdict=verdict,
            reason=reason,
            objective=question.objective,
            metric=question.metric,
            better=question.better,
            n_train=question.n_train,
            target=self._state.until,
            target_origin=self._origin,
            delta=question.delta,
            recommendation=recommendation,
            provisional=provisional,
            flat_set=() if decision is None or verdict in _OPEN else decision.flat_set,
            expected=None if size is None else self._expected(size),
            gain=gain,
            gain_from_batch_size=gain_from_batch_size,
            reference=question.reference,
            reference_tuned=None if reference_cell is None else self._at_rate(reference_cell),
            candidates=tuple(candidate(self._state, self._costs, decision, s) for s in sizes),
            laws=None if self._costs is None else laws_of(self._state, self._costs),
            tried=tuple(with_end(self._state, run) for run in self._state.tried()),
            head_to_head=None
            if self._verification is None or size is None
            else self._verification.head_to_head,
            endings=self._endings,
            hardly_learns=self._state.hardly_learns,
            missing=missing,
            more_budget_s=None if missing is None else self._more_budget_s,
            proposed_target=self._proposed_target(),
            caveats=(*self._caveats(named), *self._why_ended_early(missing)),
            steps=tuple(self._state.steps),
            n_trials=len(self._state.records),
            spent_s=self._state.engine.spent_s(),
            budget_s=question.budget_s,
            pay_back_runs=None if size is None else self._pay_back_runs(),
        )

    # ---- verdict

    def _verdict(self) -> tuple[Verdict, Reason, Reason | None]:
        decision = self._decision
        if decision is None:
            stopped = self._outcome.reason
            assert stopped is not None
            return "cannot_tell", stopped, stopped
        verification = self._verification
        against = None if verification is None else verification.against
        if against is not None:
            return "cannot_tell", against, against
        if self._origin == "easier":
            return "cannot_tell", *self._end_not_seen(decision)
        # "samples" does not ask for the fewest: there better is not what is wanted.
        is_wanted = self._question.objective != "samples"
        low = None if verification is None else verification.gain.low
        is_sooner = is_wanted and low is not None and low > 1
        worse_yet = self._may_end_worse()
        if worse_yet is not None:
            if is_sooner and self._endings is not None and self._endings.is_no_worse_than_own:
                return "better", Reason.of("better_than_own", missing=worse_yet), worse_yet
            return "cannot_tell", worse_yet, worse_yet
        if decision.verdict != "cannot_tell" and decision.flat_set:
            return decision.verdict, self._why_chosen(decision), None
        missing = self._what_is_missing(decision)
        if is_sooner:
            assert verification is not None
            if missing.code == "may_be_worse":
                missing = self._beside_the_best(decision, verification.batch_size) or missing
            return "better", Reason.of("whether_best_is_open", missing=missing), missing
        return "cannot_tell", Reason.of("runs_leave_open", missing=missing), missing

    def _end_not_seen(self, decision: Decision) -> tuple[Reason, Reason]:
        """Why a level on the way gives no recommendation, and what is missing for one.

        What is fast there often ends worse: its rate is too high for the end.
        """
        best, missing = self._state.best, Reason.of("end_of_training")
        if best is None:
            return Reason.of("end_not_seen", missing=missing), missing
        size = decision.batch_size or best.batch_size
        return Reason.of("fastest_on_the_way", size=size, missing=missing), missing

    def _may_end_worse(self) -> Reason | None:
        """Why it is not shown that what was verified ends no worse; None: it is, or not asked.

        Where nothing was to be named, there is another reason for that.
        """
        names = self._decision is not None and self._decision.batch_size is not None
        if self._state.end is None or not (names or self._verification is not None):
            return None
        if self._endings is None:
            return Reason.of("whole_trainings_not_seen")
        return None if self._endings.verdict == "no_worse" else self._endings.reason

    def _recommended(self, verdict: Verdict) -> Size | None:
        """The batch size to set: the decision's, or what was verified to be better."""
        found = self._verification if verdict == "better" else self._decision
        if verdict == "cannot_tell" or found is None or found.batch_size is None:
            return None
        return self._state.sizes[found.batch_size]

    def _why_chosen(self, decision: Decision) -> Reason:
        objective, delta, size = self._question.objective, self._question.delta, decision.batch_size
        if decision.verdict == "indifferent":
            return Reason.of(
                "all_within_delta",
                smallest=decision.flat_set[0],
                largest=decision.flat_set[-1],
                delta=delta,
                objective=objective,
            )
        if objective == "samples":
            return Reason.of("largest_within_delta", size=size, objective=objective, delta=delta)
        out = self._state.ruled_out.items()
        worse = sorted(other for other, why in out if why.code in ENDS_WORSE)
        if sum(option.runs for option in self._question.options) == 1:
            return Reason.of("the_only_one", size=size)
        if worse:
            return Reason.of(
                "least_that_ends_no_worse", size=size, objective=objective, others=worse
            )
        return Reason.of("least_of_those_tried", size=size, objective=objective)

    def _what_is_missing(self, decision: Decision) -> Reason:
        if self._outcome.passed_over is not None:
            return _why_passed_over(self._outcome.passed_over)
        if self._outcome.not_followed is not None:
            return Reason.of("faster_not_followed", size=self._outcome.not_followed)
        high = decision.high_of(decision.contender)
        if high <= 1 + self._question.delta or math.isinf(high):
            return Reason.of("too_little_was_run")
        other = Reason.of("a_size", size=decision.blocking)
        if decision.blocking == decision.contender:
            other = Reason.of("a_size_not_tried")
        return Reason.of(
            "may_be_worse",
            size=decision.contender,
            worse=high - 1,
            other=other,
            delta=self._question.delta,
            what=self._what_would_tell(decision),
        )

    def _beside_the_best(self, decision: Decision, batch_size: int) -> Reason | None:
        """How far from the best what is named may be; None: nothing bounds it."""
        high = decision.high_of(batch_size)
        if self._question.objective != "time" or math.isinf(high) or high <= 1:
            return None
        what = self._what_would_tell(decision)
        return Reason.of("may_take_longer_than_best", size=batch_size, times=high, what=what)

    def _what_would_tell(self, decision: Decision) -> Reason:
        rivals = (self._state.sizes[size] for size in (decision.contender, decision.blocking))
        if _marks_too_wide(self._state, self._state.reference_cell, *(s.cell for s in rivals)):
            return Reason.of("nearer_marks_would_tell")
        if self._step_times_keep_it_open:
            return Reason.of("better_step_times_would_tell")
        return Reason.of("more_runs_would_tell")

    @cached_property
    def _step_times_keep_it_open(self) -> bool:
        if self._decision is None or self._costs is None:
            return False
        return not runs_may_tell(self._state, self._costs, self._decision)

    @property
    def _more_budget_s(self) -> float | None:
        """About how much more may settle it (`benchmarks/asked_again.py`); None: not known."""
        if self._outcome.raced is not None:
            beyond_s = _for_more_than_a_race_s(self._state) - self._question.budget_s
            return beyond_s if beyond_s > 0 else None
        more_s, budget_s = self._would_settle_s(), self._question.budget_s
        # What costs less than was left was not missing.
        left_s = budget_s - self._state.engine.spent_s()
        return more_s if more_s and left_s < more_s <= _MOST_MORE * budget_s else None

    def _would_settle_s(self) -> float | None:
        """What runs would cost that may settle it, whether or not there was so much left."""
        state, question = self._state, self._question
        endings = self._outcome.passed_over or self._endings
        if self._origin == "easier":
            return 2 * question.budget_s  # to see the end of a training
        if endings is not None and endings.verdict == "open":
            return _for_endings_s(state, endings)
        if self._outcome.not_followed is not None:
            cells = compared_with(state, state.sizes[self._outcome.not_followed])
            return more_s_for_seeds(state, cells, done=0, n=N_SEEDS)
        decision = self._decision
        if decision is None or self._what_would_tell(decision).code != "more_runs_would_tell":
            return None
        spent_s = state.engine.spent_s()
        rivals = [state.sizes[size] for size in (decision.contender, decision.blocking)]
        run_s = _next_run_s(rivals)
        is_early = _is_early(state) and run_s <= question.budget_s - spent_s
        if is_early or _seeds_are_used_up(state, rivals):
            return None  # another run could be paid for, or had, and would not have told
        if decision.blocking == decision.contender:
            return question.budget_s  # what a batch size that was not tried takes is not known
        # Intervals shrink with the root of the runs.
        over = math.log(decision.high_of(decision.contender)) / math.log1p(question.delta)
        return max(run_s, max(_LEAST_MORE, over**2 - 1) * spent_s)

    def _why_ended_early(self, missing: Reason | None) -> list[Reason]:
        """Why an open question was left with much of the budget unspent."""
        state, question, decision = self._state, self._question, self._decision
        is_open = missing is not None and self._origin != "easier"
        if decision is None or not is_open or not _is_early(state):
            return []
        left_s = question.budget_s - state.engine.spent_s()
        rivals = [state.sizes[size] for size in (decision.contender, decision.blocking)]
        why = Reason.of("no_run_would_tell_more")
        if self._step_times_keep_it_open:
            why = Reason.of("trainings_tell_no_step_times")
        elif _seeds_are_used_up(state, rivals):
            why = Reason.of("seeds_used_up", n=len(state.seeds.value))
        elif (run_s := _next_run_s(rivals)) > left_s:
            why = Reason.of("next_run_too_dear", run_s=run_s)
        budget_s = question.budget_s
        return [Reason.of("ended_before_budget", left_s=left_s, budget_s=budget_s, why=why)]

    # ---- caveats

    def _caveats(self, named: Configuration | None) -> list[Reason]:
        """What limits the answer."""
        state, outcome, until = self._state, self._outcome, self._state.until
        verified, caveats = self._verification, []
        if state.end is not None and state.end.ended_by == "overfitting":
            caveats.append(Reason.of("reference_overfits"))
        if self._origin == "easier" and until is not None:
            metric, level, asked = until.metric, until.value, self._question.target
            why = Reason.of("easier_than_plateau", metric=metric, value=level)
            if asked is not None:
                why = Reason.of("easier_than_asked", metric=metric, value=level, asked=asked.value)
            caveats.append(why)
        if verified is not None and verified.head_to_head is None and state.end is None:
            caveats.append(Reason.of("not_verified"))
        if verified is not None and verified.missed:
            n = verified.n + verified.missed
            caveats.append(Reason.of("some_seeds_missed", missed=verified.missed, n=n))
        if outcome.raced and outcome.soonest and outcome.soonest != outcome.raced:
            (size, rate), (_, soonest) = outcome.raced, outcome.soonest
            caveats.append(Reason.of("below_the_soonest", size=size, rate=rate, soonest=soonest))
        # Of a configuration that stays as it is its user knows whether it holds.
        cell = None if named is None else (named.batch_size, named.learning_rate)
        if cell is not None and cell != state.reference_cell:
            caveats += filter(None, [at_the_edge(state, cell)])
        caveats += _marks_too_wide(state, cell, state.reference_cell)
        unfinished = [s.batch_size for s in state.tuned if s.search and not s.search.finished]
        if unfinished:
            caveats.append(Reason.of("rate_search_cut", sizes=unfinished))
        if self._question.objective != "quality":
            caveats += state.carried_over().caveats()
        return caveats

    def _proposed_target(self) -> Target | None:
        until, raced = self._state.until, self._outcome.raced
        if until is None or raced or self._costs is not None or self._endings is not None:
            return None  # there is none, or it was met
        records = list(self._state.records.values())
        level = easier(self._question, records, why=Reason.of("runs_met_it"))
        # One that is no easier than the one that was missed is none.
        return None if level is None or until.met_by(level.target.value) else level.target

    # ---- parts

    def _recommendation(self, size: Size) -> Configuration:
        """What was shown to end no worse."""
        found = None if self._endings is None else self._endings.recommended
        return self._at_rate(size.cell if found is None else found.cell)

    def _at_rate(self, cell: CellKey | None) -> Configuration:
        assert cell is not None
        return Configuration(
            batch_size=cell[0],
            micro_batch_size=self._state.sizes[cell[0]].option.micro_batch_size,
            learning_rate=cell[1],
        )

    def _provisional(self) -> Configuration | None:
        if self._outcome.raced is not None:
            return self._at_rate(self._outcome.raced)
        if self._verification is not None and self._verification.instead is not None:
            return self._at_rate(self._verification.instead)
        if self._endings is not None and self._endings.gives_way:
            # Of this one it was seen how it ends.
            return self._at_rate(self._endings.compared_with.cell)
        best = self._state.best
        if self._outcome.not_followed is not None and self._verification is not None:
            best = self._state.sizes[self._verification.batch_size]
        if best is None:
            # Nothing faster ends as well as what the user has.
            return None if self._endings is None else self._question.reference
        return self._at_rate(best.cell)

    def _expected(self, size: Size) -> Expected:
        option = size.option
        peak = Estimate.cannot_tell(Reason.of("peak_not_reported"))
        if (exact := option.peak_bytes) is not None:
            peak = Estimate.of(exact, interval=(exact, exact), n=1)
        is_fixed = self._question.objective == "quality"
        steps = horizon(size) if is_fixed else self._verified_steps(size)
        return Expected(
            time_to_target_s=product(steps, option.step_s),
            steps_to_target=steps,
            samples_to_target=steps.times(size.examples_per_step),
            epochs_to_target=steps.times(1 / size.steps_per_epoch),
            peak_bytes=peak,
        )

    def _verified_steps(self, size: Size) -> Estimate:
        verified = self._verification
        if verified is not None and verified.log_learning_cost is not None:
            return Estimate.of_log(verified.log_learning_cost, verified.half_width, n=verified.n)
        return learning_cost(self._state, self._costs, size)

    # ---- pay-back

    def _pay_back_runs(self) -> float | None:
        """After how many runs the study has saved what it cost, for objective time."""
        verified = self._verification
        cost = None if verified is None else verified.log_learning_cost
        if self._question.objective != "time" or verified is None or cost is None:
            return None
        gain = verified.gain.estimate or verified.gain.low
        if gain is None or gain <= 1:
            return None
        weight = self._state.sizes[verified.batch_size].log_weight
        saved_s = (gain - 1) * math.exp(cost + weight)
        return self._state.engine.spent_s() / saved_s


def _for_more_than_a_race_s(state: StudyState) -> float:
    """The budget with which more than a race is likely to tell.

    A training of unknown length takes twice what was seen of it.
    """
    size, longest = state.reference, state.question.longest_epochs
    if state.end is not None:
        steps = size.whole_steps
    elif longest is not None:
        steps = size.longest_steps
    else:
        steps = 2 * state.records[*state.reference_cell, state.seeds.tune[0]].steps
    began_s = state.steps[0].spent_s
    return began_s + _TO_TELL * size.run_s(steps) / min(state.engine.n_workers, 2)


def _for_endings_s(state: StudyState, endings: Endings) -> float | None:
    """What the whole trainings cost that would tell whether it ends no worse."""
    n = min(len(each.found) for each in endings.trainings)
    # The scatter of two is hardly known: one seed more than the fewest is likely to tell.
    needed = (seeds_to_tell(endings) or 2 * n) if n >= N_SEEDS else N_SEEDS + 1
    if needed > len(state.seeds.verify):
        return None
    return more_s_for_seeds(state, [each.cell for each in endings.trainings], done=n, n=needed)


def _why_passed_over(endings: Endings) -> Reason:
    mine, other = endings.recommended, endings.compared_with
    if not endings.recommended.found:
        return Reason.of("faster_not_seen_to_end", size=mine.batch_size)
    return Reason.of(
        "faster_seems_to_end_worse",
        size=mine.batch_size,
        ends=mine.mean,
        other=other.as_reason,
        other_ends=other.mean,
        n=endings.difference.n,
    )
