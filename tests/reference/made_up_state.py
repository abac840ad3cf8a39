"""A StudyState as if its runs had gone exactly so: each one is a curve that a test gives.

Nothing here trains or searches. Every batch size named is tuned to one rate, and its runs are
valuations with fresh seeds; what follows from them can be said in closed form.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.reference.simulated_engine import SimulatedEngine, Truth, record_of
from tests.reference.simulated_question import question

from batchlab.advice.advice import Question
from batchlab.advice.study_state import RateSearch, StudyState
from batchlab.records.trial import Status, Trial, TrialRecord

TARGET = 0.97
BUDGET_S = 1e6


@dataclass(frozen=True)
class Run:
    """How a run ended, and its accuracy by step."""

    status: Status
    curve: tuple[tuple[int, float], ...]

    def record_of(self, trial: Trial) -> TrialRecord:
        return record_of(trial, self.status, None, self.curve)


def met(steps: int) -> Run:
    """A run that met the target between the evaluations a step before `steps` and a step after."""
    return Run(
        Status.TARGET_REACHED, ((0, 0.1), (steps - 1, TARGET - 0.01), (steps + 1, TARGET + 0.001))
    )


def cut(steps: int) -> Run:
    """A run that was followed for so many steps and had not met the target."""
    return Run(Status.OK, ((0, 0.1), (steps, TARGET - 0.01)))


def diverged(steps: int) -> Run:
    return Run(Status.DIVERGED, ((0, 0.1), (steps, 0.05)))


def scored(accuracy: float) -> Run:
    """A whole run, for objective quality: this accuracy is its best."""
    return Run(Status.OK, ((0, 0.1), (100, accuracy)))


def learning_rate(batch_size: int) -> float:
    """The rate that every batch size was tuned to."""
    return 0.02 * (batch_size / 64) ** 0.5


def made_up_state(
    runs: Mapping[int, Sequence[Run]],
    *,
    step_s: Callable[[int], float] = lambda batch_size: 1e-3,
    spent_s: float = 100.0,
    **changes: Any,
) -> StudyState:
    """A study with these valuation runs by batch size; `changes` are fields of its Question."""
    asked: Question = question(step_s, budget_s=BUDGET_S, **changes)
    engine = SimulatedEngine(truth=Truth(), step_s=step_s, elapsed_s=spent_s)
    state = StudyState(
        question=asked, engine=engine, until=None if asked.objective == "quality" else asked.target
    )
    for batch_size, each in runs.items():
        rate = learning_rate(batch_size)
        size = state.sizes[batch_size]
        size.search = RateSearch(
            size=size, learning_rate=rate, learning_cost=1000.0, finished=True, seeds=[0]
        )
        for seed, run in zip(state.seeds.value, each, strict=False):
            trial = engine.trial(batch_size=batch_size, learning_rate=rate, seed=seed)
            state.records[batch_size, rate, seed] = run.record_of(trial)
            state.purposes[batch_size, rate, seed] = "value"
    return state
