"""Answer: the advice that the state support, put together as a record."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property

from batchlab.advice.advice import Advice
from batchlab.advice.allocation import runs_may_tell
from batchlab.advice.candidates import candidates, learning_cost
from batchlab.advice.caveats import caveats_of
from batchlab.advice.combined_estimates import product, scaled
from batchlab.advice.conclusion import Conclusion
from batchlab.advice.costs import costs_of
from batchlab.advice.decision import Decision
from batchlab.advice.fitted_laws import laws_of
from batchlab.advice.more_budget import more_budget_s, why_it_ended_early
from batchlab.advice.parts import (
    Configuration,
    Endings,
    Expected,
    TargetAnswer,
    TargetOrigin,
    Verdict,
)
from batchlab.advice.repeated_decisions import repeated_decisions
from batchlab.advice.study_state import StudyState
from batchlab.advice.target_level import easier
from batchlab.records.estimate import Estimate
from batchlab.records.reason import Reason
from batchlab.records.target import Target

_ENDS_WORSE = ("ends_worse", "cool_down_mends_nothing", "whole_trainings_failed")


def answered(state: StudyState, outcome: Conclusion, *, origin: TargetOrigin) -> Advice:
    """The advice."""
    return _Answer(state, outcome, origin).advice()


class _Answer:
    def __init__(self, state: StudyState, outcome: Conclusion, origin: TargetOrigin) -> None:
        self._state = state
        self._question = state.question
        self._run_log = state.run_log
        self._origin = origin
        self._outcome = outcome
        self._decision = outcome.decision
        self._verification = outcome.verification
        self._not_followed = outcome.not_followed
        self._passed_over = outcome.passed_over
        self._endings = outcome.endings
        self._stopped = outcome.reason
        self._costs = costs_of(state) if outcome.decision is not None else None
        self._others: tuple[TargetAnswer, ...] = ()
        if outcome.decision is not None and self._costs is not None:
            self._others = repeated_decisions(state, outcome.decision)

    def advice(self) -> Advice:
        verdict, reason, missing = self._verdict()
        decision, question = self._decision, self._question
        size = self._recommended(verdict)
        recommendation = None if size is None else self._recommendation(size)
        provisional = self._provisional() if size is None else None
        named = recommendation or provisional
        none = Estimate.cannot_tell(self._stopped or Reason.of("nothing_to_compare"))
        gain = gain_from_batch_size = none
        if self._verification is not None and size is not None:
            gain = self._verification.gain
            gain_from_batch_size = self._verification.gain_from_batch_size
        elif self._outcome.gain is not None:
            gain = self._outcome.gain
        reference_cell = self._state.cell(question.reference.batch_size)
        return Advice(
            verdict=verdict,
            reason=reason,
            objective=question.objective,
            metric=question.metric,
            better=question.better,
            target=self._run_log.until,
            target_origin=self._origin,
            delta=question.delta,
            recommendation=recommendation,
            provisional=provisional,
            flat_set=() if decision is None or missing is not None else decision.flat_set,
            expected=None if size is None else self._expected(size),
            gain=gain,
            gain_from_batch_size=gain_from_batch_size,
            reference=question.reference,
            reference_tuned=None
            if reference_cell is None
            else self._configuration(reference_cell[0]),
            candidates=candidates(self._state, self._costs, decision),
            laws=None if self._costs is None else laws_of(self._state, self._costs),
            tried=self._run_log.tried(self._run_log.until),
            head_to_head=None
            if self._verification is None or size is None
            else self._verification.head_to_head,
            endings=self._endings,
            other_targets=self._others,
            missing=missing,
            more_budget_s=None if missing is None else self._more_budget_s,
            proposed_target=self._proposed_target(),
            caveats=(
                *caveats_of(
                    self._state,
                    self._outcome,
                    origin=self._origin,
                    named=None if named is None else (named.batch_size, named.learning_rate),
                    others=self._others,
                ),
                *self._why_ended_early(missing),
            ),
            steps=tuple(self._run_log.steps),
            n_trials=len(self._run_log.records) + len(self._run_log.cooled),
            spent_s=self._run_log.engine.spent_s(),
            budget_s=question.budget_s,
            pay_back_runs=None if size is None else self._pay_back_runs(),
        )

    # ---- verdict

    def _verdict(self) -> tuple[Verdict, Reason, Reason | None]:
        decision = self._decision
        if decision is None:
            assert self._stopped is not None
            return "cannot_tell", self._stopped, self._stopped
        verification = self._verification
        against = None if verification is None else verification.against
        if against is not None:
            return "cannot_tell", against.why, against.why
        if self._origin == "easier":
            return "cannot_tell", *self._end_not_seen(decision)
        worse_yet = self._may_end_worse()
        if worse_yet is not None:
            return "cannot_tell", worse_yet, worse_yet
        if decision.verdict != "cannot_tell" and decision.flat_set:
            return decision.verdict, self._why_chosen(decision, decision.flat_set), None
        missing = self._what_is_missing(decision)
        # "samples" does not ask for the fewest: there better is not what is wanted.
        is_wanted = self._question.objective != "samples"
        if is_wanted and verification is not None and _for_sure_above_one(verification.gain):
            if missing.code == "may_be_worse":
                missing = self._beside_the_best(decision, verification.batch_size) or missing
            return "better", Reason.of("whether_best_is_open", missing=missing), missing
        return "cannot_tell", Reason.of("runs_leave_open", missing=missing), missing

    def _end_not_seen(self, decision: Decision) -> tuple[Reason, Reason]:
        """Why a level on the way gives no recommendation, and what is missing for one.

        What is fast there often ends worse: its rate is too high for the end.
        """
        best = decision.batch_size or self._state.best()
        missing = Reason.of("end_of_training")
        if best is None:
            return Reason.of("end_not_seen", missing=missing), missing
        seen = Reason.of("fastest_on_the_way", size=best, missing=missing)
        return seen, missing

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

    def _recommended(self, verdict: Verdict) -> int | None:
        """The batch size to set: the decision's, or what was verified to be better."""
        if verdict == "better":
            return None if self._verification is None else self._verification.batch_size
        if self._decision is None or verdict == "cannot_tell":
            return None
        return self._decision.batch_size

    def _why_chosen(self, decision: Decision, flat: tuple[int, ...]) -> Reason:
        objective, delta = self._question.objective, self._question.delta
        if decision.verdict == "indifferent":
            return Reason.of(
                "all_within_delta",
                smallest=flat[0],
                largest=flat[-1],
                delta=delta,
                objective=objective,
                size=decision.batch_size,
            )
        if objective == "samples":
            return Reason.of(
                "largest_within_delta", size=decision.batch_size, objective=objective, delta=delta
            )
        size, worse = decision.batch_size, self._that_end_worse
        if sum(option.runs for option in self._question.options) == 1:
            return Reason.of("the_only_one", size=size)
        if worse:
            return Reason.of(
                "least_that_ends_no_worse", size=size, objective=objective, others=worse
            )
        return Reason.of("least_of_those_tried", size=size, objective=objective)

    @property
    def _that_end_worse(self) -> list[int]:
        """The batch sizes that looked best and were seen to end worse."""
        out = self._state.ruled_out.items()
        return sorted(size for size, why in out if why.code in _ENDS_WORSE)

    def _what_is_missing(self, decision: Decision) -> Reason:
        if self._passed_over is not None:
            return _why_passed_over(self._passed_over)
        if self._not_followed is not None:
            return Reason.of("faster_not_followed", size=self._not_followed)
        if self._outcome.is_cooled:
            return Reason.of("others_not_cooled", size=decision.contender)
        high = dict(zip(decision.batch_sizes, decision.high, strict=True))[decision.contender]
        if high <= 1 + self._question.delta or math.isinf(high):
            return Reason.of("too_little_was_run", size=decision.contender)
        return Reason.of(
            "may_be_worse",
            size=decision.contender,
            worse=high - 1,
            other=_other(decision),
            delta=self._question.delta,
            what=self._what_would_tell(),
        )

    def _beside_the_best(self, decision: Decision, batch_size: int) -> Reason | None:
        """How far from the best what is named may be; None: nothing bounds it."""
        high = dict(zip(decision.batch_sizes, decision.high, strict=True)).get(batch_size, math.inf)
        if self._question.objective != "time" or math.isinf(high) or high <= 1:
            return None
        what = self._what_would_tell()
        return Reason.of("may_take_longer_than_best", size=batch_size, times=high, what=what)

    def _what_would_tell(self) -> Reason:
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
        return more_budget_s(
            self._state,
            origin=self._origin,
            decision=None if self._step_times_keep_it_open else self._decision,
            endings=self._passed_over or self._endings,
            not_followed=self._not_followed,
        )

    def _why_ended_early(self, missing: Reason | None) -> list[Reason]:
        """Why an open question was left with much of the budget unspent."""
        decision = self._decision
        if missing is None or decision is None or self._origin == "easier":
            return []
        why = why_it_ended_early(
            self._state,
            {decision.contender, decision.blocking},
            step_times_keep_it_open=self._step_times_keep_it_open,
        )
        return [] if why is None else [why]

    def _proposed_target(self) -> Target | None:
        if self._run_log.until is None or self._costs is not None or self._endings is not None:
            return None
        if self._outcome.raced is not None:
            return None  # the pilot met it
        records = list(self._run_log.records.values())
        level = easier(self._question, records, why=Reason.of("runs_met_it"))
        if level is None or self._run_log.until.met_by(level.target.value):
            return None  # no easier than the one that was missed
        return level.target

    # ---- parts

    def _recommendation(self, batch_size: int) -> Configuration:
        """What was shown to end no worse, with the cool-down that it takes."""
        cool_down = 0.0 if self._endings is None else self._endings.recommended.cool_down
        return replace(self._configuration(batch_size), cool_down=cool_down)

    def _configuration(self, batch_size: int) -> Configuration:
        cell = self._state.cell(batch_size)
        assert cell is not None
        return self._at_rate(*cell)

    def _at_rate(self, batch_size: int, learning_rate: float) -> Configuration:
        return Configuration(
            batch_size=batch_size,
            micro_batch_size=self._question.option(batch_size).micro_batch_size,
            learning_rate=learning_rate,
        )

    def _provisional(self) -> Configuration | None:
        if self._outcome.raced is not None:
            return self._at_rate(*self._outcome.raced)
        against = None if self._verification is None else self._verification.against
        if against is not None and against.instead is not None:
            return self._at_rate(*against.instead)
        if self._endings is not None and self._endings.gives_way:
            # Of this one it was seen how it ends.
            instead = self._endings.compared_with
            return replace(self._at_rate(*instead.cell), cool_down=instead.cool_down)
        best = self._state.best()
        if self._not_followed is not None and self._verification is not None:
            best = self._verification.batch_size
        if best is None:
            # Nothing faster ends as well as what the user has.
            return None if self._endings is None else self._question.reference
        return self._configuration(best)

    def _expected(self, batch_size: int) -> Expected:
        question = self._question
        option = question.option(batch_size)
        peak = Estimate.cannot_tell(Reason.of("peak_not_reported"))
        if option.peak_bytes is not None:
            peak = Estimate.of(
                option.peak_bytes, interval=(option.peak_bytes, option.peak_bytes), n=1
            )
        if question.objective == "quality":
            steps = self._state.horizon_steps(batch_size)
            steps_estimate = Estimate.of(steps, interval=(steps, steps), n=1)
        else:
            steps_estimate = self._verified_steps(batch_size)
        return Expected(
            time_to_target_s=product(steps_estimate, option.step_s),
            steps_to_target=steps_estimate,
            samples_to_target=scaled(steps_estimate, self._run_log.examples_per_step(batch_size)),
            epochs_to_target=scaled(steps_estimate, 1 / self._run_log.steps_per_epoch(batch_size)),
            peak_bytes=peak,
        )

    def _verified_steps(self, batch_size: int) -> Estimate:
        verified = self._verification
        if verified is not None and verified.log_learning_cost is not None:
            half = verified.half_width
            assert half is not None
            middle = verified.log_learning_cost
            return Estimate.of(
                math.exp(middle),
                interval=(math.exp(middle - half), math.exp(middle + half)),
                n=verified.n,
            )
        return learning_cost(self._state, self._costs, batch_size)

    # ---- pay-back

    def _pay_back_runs(self) -> float | None:
        """After how many runs the study has saved what it cost, for objective time."""
        verified = self._verification
        if (
            self._question.objective != "time"
            or verified is None
            or verified.log_learning_cost is None
        ):
            return None
        gain = verified.gain.estimate or verified.gain.low
        if gain is None or gain <= 1:
            return None
        weight = self._state.log_weight(verified.batch_size)
        saved_s = (gain - 1) * math.exp(verified.log_learning_cost + weight)
        return self._run_log.engine.spent_s() / saved_s


def _for_sure_above_one(gain: Estimate) -> bool:
    return gain.low is not None and gain.low > 1


def _why_passed_over(endings: Endings) -> Reason:
    mine, other = endings.recommended, endings.compared_with
    if endings.is_unseen:
        return Reason.of("faster_not_seen_to_end", size=mine.batch_size)
    return Reason.of(
        "faster_seems_to_end_worse",
        size=mine.batch_size,
        ends=mine.mean,
        other=other.as_reason,
        other_ends=other.mean,
        n=endings.difference.n,
    )


def _other(decision: Decision) -> Reason:
    """What the contender's bound is set by."""
    if decision.blocking == decision.contender:
        return Reason.of("a_size_not_tried")
    return Reason.of("a_size", size=decision.blocking)
