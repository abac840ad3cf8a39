"""A study on a toy engine, by way of its journal: interrupted or killed where a test says."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.reference.made_up_study import STUDY, store_with_study
from tests.reference.side_by_side_engine import ForgetfulEngine
from tests.reference.simulated_engine import Truth
from tests.reference.simulated_question import question

from batchlab.advice.advice import Advice
from batchlab.advice.advisor import advise
from batchlab.records.run import RunRequest
from batchlab.records.trial import Trial, TrialRecord
from batchlab.runs.replay import Journal, ReplayingEngine

# A power of two, so that times add up to the same last bit however they are added.
STEP_S = 2.0**-10
BUDGET_S = 128.0


@dataclass
class Toy(ForgetfulEngine):
    """It ends as it is told at the n-th run that it would begin."""

    ends_at: int | None = None
    end: Callable[[], None] = field(default=lambda: None)

    def trial(
        self, *, batch_size: int, learning_rate: float, seed: int, horizon: float = 1.0
    ) -> Trial:
        of = {"workload_id": "made-up-id", "workload": "small", "n_train": 20_000}
        return Trial(**of, batch_size=batch_size, learning_rate=learning_rate, seed=seed)

    def answer(self, request: RunRequest) -> TrialRecord:
        if len(self.asked) == self.ends_at:
            self.end()
        return super().answer(request)


def toy(**named: Any) -> Toy:
    return Toy(truth=Truth(), step_s=lambda batch_size: STEP_S, **named)


def interrupt() -> None:
    raise KeyboardInterrupt


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def advised(path: Path, engine: Toy) -> Advice:
    with store_with_study(path) as store:
        journal = Journal(store, STUDY)
        asked = question(lambda batch_size: STEP_S, budget_s=BUDGET_S, sizes=(16, 64, 256))
        advice = advise(asked, ReplayingEngine(engine, journal))
        journal.put_study(advice.target)
        journal.put_readings(spent_s=engine.spent_s())
        return advice
