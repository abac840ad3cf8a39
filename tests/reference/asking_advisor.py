"""An advisor for tests: it asks in a plain order, as far as the clock says, and recommends."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from batchlab.advice.advice import Advice, Question, RateTried, Step
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.run import RunLength, RunRequest
from batchlab.records.trial import TrialRecord
from batchlab.runs.contract import Engine, run_all

written = Reason.as_written

NOT_ASKED = Estimate.cannot_tell(written("this advisor does not look"))


@dataclass
class AskingAdvisor:
    """Trains every batch size at two rates, longer and longer, while the budget lasts.

    What it asks depends on the clock, on the expected times and on the records: whatever is not
    replayed as it was shows in its asks.
    """

    before_ask: Callable[[int], None] = lambda n: None
    longest_steps: int = 24
    asked: list[tuple[int, float, int, int]] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    engines: list[Engine] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)  # fields of the advice

    def __call__(self, question: Question, engine: Engine) -> Advice:
        self.questions.append(question)
        self.engines.append(engine)
        steps: list[Step] = []
        tried: dict[str, TrialRecord] = {}
        length = 6
        while length <= self.longest_steps:
            for option in (option for option in question.options if option.runs):
                spent_s = engine.spent_s()
                expected_s = engine.expected_s(option.batch_size, RunLength(steps=length))
                if spent_s + expected_s > question.budget_s:
                    continue
                steps.append(
                    Step(spent_s=spent_s, did=written("train"), why=written(f"{expected_s:.6g} s"))
                )
                for record in self._run(question, engine, option.batch_size, length, len(steps)):
                    tried[record.trial.trial_id] = record
            length *= 2
        found = self._advice(question, tuple(steps), list(tried.values()), engine.spent_s())
        return replace(found, **self.answers)

    def _run(
        self, question: Question, engine: Engine, batch_size: int, length: int, n: int
    ) -> list[TrialRecord]:
        self.before_ask(n)
        requests = [
            RunRequest(
                trial=engine.trial(batch_size=batch_size, learning_rate=rate, seed=n % 2),
                length=RunLength(steps=length, until=question.target),
            )
            for rate in (question.reference.learning_rate, 2 * question.reference.learning_rate)
        ]
        self.asked += [
            (batch_size, request.trial.learning_rate, request.trial.seed, length)
            for request in requests
        ]
        return run_all(engine, requests)

    def _advice(
        self,
        question: Question,
        steps: tuple[Step, ...],
        records: list[TrialRecord],
        spent_s: float,
    ) -> Advice:
        same = ("objective", "metric", "better", "n_train", "target", "delta")
        same += ("reference", "budget_s", "is_usual")
        return Advice(
            **{name: getattr(question, name) for name in same},
            target_origin="pilot" if question.target is None else "given",
            verdict="recommend",
            reason=written("it was asked"),
            recommendation=question.reference,
            flat_set=(),
            gain=NOT_ASKED,
            gain_from_batch_size=NOT_ASKED,
            reference_tuned=None,
            candidates=(),
            laws=None,
            tried=tuple(
                RateTried(
                    batch_size=record.trial.batch_size,
                    learning_rate=record.trial.learning_rate,
                    seed=record.trial.seed,
                    purpose="search",
                    status=str(record.status),
                    steps=record.steps,
                    steps_to_target=None,
                )
                for record in records
            ),
            caveats=(written("the advisor's own"),),
            steps=steps,
            n_trials=len(records),
            spent_s=spent_s,
        )
