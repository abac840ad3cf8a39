"""The stages of an advice are told by the runs that it asks for."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from tests.reference.simulated_engine import SimulatedEngine, Truth
from tests.reference.simulated_question import knee, question
from tests.reference.told import Told

from batchlab.advice.advice import Question
from batchlab.advice.advisor import advise
from batchlab.app.advice_session import BEGINNING, SEARCH, TARGET, AdviceProgress, stages_of
from batchlab.app.profile import PROFILING


@pytest.mark.parametrize(
    ("objective", "target", "stages"),
    [
        ("time", None, [PROFILING, TARGET, SEARCH]),
        ("time", "given", [PROFILING, SEARCH]),
        ("quality", None, [PROFILING, SEARCH]),
    ],
)
def test_a_target_is_a_stage_where_none_is_given(
    objective: str, target: str | None, stages: list[str]
) -> None:
    asked: Any = SimpleNamespace(question=SimpleNamespace(objective=objective), target=target)

    assert stages_of(asked) == stages


BUDGET_S = 60 * Truth().best_steps(64) * 1e-3


def engine() -> SimulatedEngine:
    return SimulatedEngine(truth=Truth(), step_s=knee(1024))


def test_a_stage_is_told_once_when_it_begins_and_each_lead_as_it_comes() -> None:
    told = Told()
    asked = question(knee(1024), budget_s=BUDGET_S, target=None)

    advice = advise(asked, engine(), watcher=AdviceProgress(told))

    assert told.phases[:2] == [TARGET, SEARCH]
    assert all(a != b for a, b in zip(told.phases, told.phases[1:], strict=False))
    assert len(told.runs) > len(told.phases)
    assert told.leads[0] is None
    assert told.leads[-1] is not None
    assert told.leads[-1].batch_size in {run.batch_size for run in advice.tried}


def test_other_batch_sizes_are_asked_about_after_the_first_part_of_the_pilot() -> None:
    told = Told()
    whole = question(knee(1024), budget_s=BUDGET_S, target=None)
    watcher = AdviceProgress(told)
    watcher.is_beginning = True

    def with_all_options() -> Question:
        watcher.is_beginning = False
        watcher.stage(PROFILING)
        return whole

    advice = advise(
        replace(whole, options=tuple(o for o in whole.options if o.batch_size == 64)),
        engine(),
        watcher=watcher,
        with_all_options=with_all_options,
    )

    assert told.phases[:3] == [BEGINNING, PROFILING, TARGET]
    assert advice == advise(whole, engine())
