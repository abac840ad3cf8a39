"""An advisor for tests: it asks in a plain order, as far as the clock says, and recommends."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tests.reference.made_up_advice import made_up_advice

from batchlab.advice.advice import Advice, Question
from batchlab.records.estimate import Reason
from batchlab.records.run import RunLength, RunRequest
from batchlab.records.trial import TrialRecord
from batchlab.runs.contract import Engine, run_all


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
                self.before_ask(n_asked)
                requests = []
                for times in (1, 2):
                    rate, seed = times * question.reference.learning_rate, n_asked % 2
                    self.asked.append((option.batch_size, rate, seed, length))
                    cell = {"batch_size": option.batch_size, "learning_rate": rate, "seed": seed}
                    until = RunLength(steps=length, until=question.target)
                    requests.append(RunRequest(trial=engine.trial(**cell), length=until))
                for record in run_all(engine, requests):
                    tried[record.trial.trial_id] = record
            length *= 2
        return replace(
            made_up_advice(),
            reason=Reason.as_written("it was asked"),
            caveats=(Reason.as_written("the advisor's own"),),
            reference=question.reference,
            recommendation=question.reference,
            budget_s=question.budget_s,
            n_trials=len(tried),
            spent_s=engine.spent_s(),
        )
