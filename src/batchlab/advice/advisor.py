"""The advisor: pilot, tune, climb, settle, verify, answer, knowing of training only an Engine."""

from __future__ import annotations

import math

from batchlab.advice.advice import Advice
from batchlab.advice.answer import Outcome, answered
from batchlab.advice.climb import climb
from batchlab.advice.engine import Engine
from batchlab.advice.findings import Findings, SeedPlan, read_failed
from batchlab.advice.ledger import Ledger, Wish
from batchlab.advice.question import Question
from batchlab.advice.settle import settle
from batchlab.advice.target_level import TargetLevel, easier, from_pilot, untrained_value
from batchlab.advice.verification import reserve, verify
from batchlab.errors import UsageError
from batchlab.laws.plateau import plateau_of
from batchlab.trial import Target, TrialRecord

# One run to the target may take so much of what the budget buys; else an easier target is taken.
# Some 40 runs make a decision.
_PILOT_SHARE = 1 / 40
_SEARCH_SHARE = 1 / 8
_VERIFIED_AT_LEAST = 1 / 3
# A level given by the user is searched for in steps of four octaves: the reference rate may be far.
_COARSE = (2, 1)


def advise(question: Question, engine: Engine) -> Advice:
    """Decide the question with runs of the engine, within its budget.

    It is deterministic: the same answers and clock readings of the engine give the same asks and
    the same advice, so that an interrupted study can be replayed.

    Raises:
        UsageError: the target is met before the first step.
    """
    return _Advisor(question, engine).advice()


class _Advisor:
    def __init__(self, question: Question, engine: Engine) -> None:
        self._question = question
        self._ledger = Ledger(question=question, engine=engine, until=question.target)
        self._findings = Findings(ledger=self._ledger, seeds=SeedPlan.of(engine.n_seeds))
        self._origin = question.target_origin

    def advice(self) -> Advice:
        stopped = self._tune_reference()
        if stopped is not None:
            return self._answer(Outcome(reason=stopped))
        reserve(self._findings)
        climb(self._findings)
        reserve(self._findings)
        decision = settle(self._findings)
        if decision is not None and decision.verdict == "cannot_tell":
            # Without a recommendation there is little to verify: better spend it on finding one.
            self._ledger.reserved_s *= _VERIFIED_AT_LEAST
            decision = settle(self._findings)
        if decision is None:
            return self._answer(
                Outcome(
                    reason="no batch size met the target on a seed that did not choose its rate"
                )
            )
        verification = None
        if decision.batch_size is not None:
            verification = verify(self._findings, decision.batch_size)
        return self._answer(Outcome(decision=decision, verification=verification))

    def _answer(self, outcome: Outcome) -> Advice:
        return answered(self._findings, outcome, origin=self._origin)

    # ---- the target and the reference

    def _tune_reference(self) -> str | None:
        """Set the target and tune the reference batch size; what stopped it, or None."""
        question, findings = self._question, self._findings
        size = question.reference.batch_size
        if question.objective == "quality":
            limit = findings.horizon_steps(size)
        else:
            limit = self._share_steps(_SEARCH_SHARE)
            if question.target is None:
                stopped = self._pilot()
                if stopped is not None:
                    return stopped
        if question.longest_epochs is not None and question.objective != "quality":
            limit = min(limit, math.ceil(question.longest_epochs * question.steps_per_epoch(size)))
        if question.objective != "quality":
            # The pilot may have taken longer than planned: four runs must still fit.
            left_s = self._ledger.left_s() * self._ledger.engine.n_workers / 4
            limit = min(limit, self._ledger.affordable_steps(size, max(0.0, left_s)))
        self._ledger.note(
            f"tune batch size {size}, the reference",
            f"from its own rate {question.reference.learning_rate:g}, at most {limit} steps a run",
        )
        tuned = findings.tune(size, limit_steps=limit, strides=_COARSE)
        for record in tuned.records:
            self._refuse_target_met_untrained(record)
        if not tuned.records:
            return "the budget ended before the reference configuration had been trained once"
        if tuned.learning_rate is None:
            stopped = self._take_easier_target(tuned.records, limit)
            if stopped is not None:
                return stopped
        findings.value(size, 2)
        return None

    def _share_steps(self, share: float) -> int:
        """Steps of the reference batch size that this share of the budget buys in one run."""
        engine = self._ledger.engine
        seconds = share * self._question.budget_s * engine.n_workers
        return self._ledger.affordable_steps(self._question.reference.batch_size, seconds)

    def _pilot(self) -> str | None:
        """Train the reference until its plateau or its share of the budget, and set the target."""
        question, ledger = self._question, self._ledger
        reference = question.reference
        limit = self._share_steps(_PILOT_SHARE)
        per_epoch = question.steps_per_epoch(reference.batch_size)
        # A faster rate beside it costs nothing where two runs fit side by side, and its level may
        # be the higher one.
        rates = [reference.learning_rate]
        if ledger.engine.n_workers > 1:
            rates.append(reference.learning_rate * 4)
        ledger.note(
            f"pilot: train the reference for up to {limit / per_epoch:.1f} epochs",
            "no target was given: its plateau sets one",
        )
        records: list[TrialRecord] = []
        steps = math.ceil(4 * per_epoch)
        while True:
            steps = min(steps, limit)
            records = ledger.run(
                [
                    Wish(
                        batch_size=reference.batch_size,
                        learning_rate=rate,
                        seed=self._findings.seeds.tune[0],
                        steps=steps,
                    )
                    for rate in rates
                ],
                "pilot",
            )
            plateau = plateau_of(records[0], metric=question.metric, better=question.better)
            if plateau.verdict == "reached" or steps >= limit or read_failed(records[0]):
                break
            steps *= 2
        level = from_pilot(question, records)
        if level is None:
            if all(read_failed(record) for record in records):
                return f"every pilot run failed: {records[0].reason}"
            return (
                f"the pilot learned nothing in {records[0].steps} steps, as far as its share of "
                f"the budget went"
            )
        self._take(level)
        return None

    def _take(self, level: TargetLevel) -> None:
        self._ledger.until = level.target
        self._origin = level.origin
        self._ledger.note(f"target: {level.target.metric} {level.target.value:.4g}", level.why)

    def _take_easier_target(self, records: list[TrialRecord], limit: int) -> str | None:
        """The target given was met by no run: take one that can be, or say why not."""
        question = self._question
        target = self._ledger.until
        if all(read_failed(record) for record in records):
            return (
                f"every rate tried at batch size {question.reference.batch_size} diverged or "
                f"failed: {records[0].reason}"
            )
        assert target is not None
        why = (
            f"no run of the reference batch size met {target.metric} {target.value:g} within "
            f"{limit} steps, its share of the budget"
        )
        for record in records:
            plateau = plateau_of(record, metric=question.metric, better=question.better)
            if plateau.verdict == "reached" and not read_failed(record):
                return (
                    f"{why}, and the run with rate {record.trial.learning_rate:g} has reached its "
                    f"plateau below it"
                )
        level = easier(question, records, why=f"{why}; this one the best of them met")
        if level is None:
            return f"{why}, and none got better than the untrained model"
        self._take(level)
        self._findings.tune(question.reference.batch_size, limit_steps=limit)
        if self._findings.cell(question.reference.batch_size) is None:
            return why
        return None

    def _refuse_target_met_untrained(self, record: TrialRecord) -> None:
        target: Target | None = self._ledger.until
        if target is None or self._question.objective == "quality":
            return
        value = untrained_value(record, target.metric)
        if target.met_by(value):
            raise UsageError(
                f"target {target.metric}={target.value:g}: it is met before the first step (the "
                f"untrained model has {value:g}); give a level that takes training"
            )
