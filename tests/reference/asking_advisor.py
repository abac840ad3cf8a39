"""An advisor for tests: it asks in a plain order, as far as the clock says, and recommends."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tests.reference.made_up_advice import made_up_advice

from batchlab.advice.advice import Advice, Question
from batchlab.records.estimate import Reason
from batchlab.records.run import RunLength, RunRequest
from batchlab.records.trial import TrialRecord
from batchlab.runs.contract import Engine, run_all

written = Reason.as_written


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

    def __call__(self, question: Question, engine: Engine) -> Advice:
        self.questions.append(question)
        self.engines.append(engine)
        tried: dict[str, TrialRecord] = {}
        length, n_asked = 6, 0
        while length <= self.longest_steps:
            for option in (option for option in question.options if option.runs):
                expected_s = engine.expected_s(option.batch_size, RunLength(steps=length))
                if engine.spent_s() + expected_s > question.budget_s:
                    continue
                n_asked += 1
                for record in self._run(question, engine, option.batch_size, length, n_asked):
                    tried[record.trial.trial_id] = record
            length *= 2
        return replace(
            made_up_advice(),
            reason=written("it was asked"),
            caveats=(written("the advisor's own"),),
            reference=question.reference,
            recommendation=question.reference,
            budget_s=question.budget_s,
            n_trials=len(tried),
            spent_s=engine.spent_s(),
        )

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
