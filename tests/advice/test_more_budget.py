"""MoreBudget: no more is asked for where there was more than that, and why it ended is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.reference.made_up_state import Run, made_up_state, met
from tests.reference.simulated_engine import SimulatedEngine, Truth
from tests.reference.simulated_question import knee, option, question

from batchlab.advice.advice import Advice, Option
from batchlab.advice.advisor import advise
from batchlab.advice.answer import why_it_ended_early
from batchlab.advice.study_state import StudyState
from batchlab.records.estimate import Estimate
from batchlab.words.reasons import reason_text


def studied(*, n_seeds: int | None, budget_s: float, noise: float = 0.3) -> Advice:
    engine = SimulatedEngine(truth=Truth(noise=noise), step_s=knee(48), n_seeds=n_seeds)
    return advise(question(knee(48), budget_s=budget_s), engine)


def caveats(advice: Advice) -> dict[str, str]:
    return {caveat.code: reason_text(caveat) for caveat in advice.caveats}


@pytest.mark.parametrize("n_seeds", [5, 6])
def test_a_study_that_ended_before_its_budget_asks_for_no_more_and_says_why(n_seeds: int) -> None:
    advice = studied(n_seeds=n_seeds, budget_s=1100.0)

    assert advice.verdict == "cannot_tell"
    assert advice.spent_s < 0.2 * advice.budget_s
    assert advice.more_budget_s is None
    assert "more time alone would not settle it" in caveats(advice)["ended_before_budget"].lower()


def known_to(factor: float, size: int) -> Option:
    step_s = knee(48)(size)
    interval = (step_s / factor, step_s * factor)
    return replace(option(size, step_s), step_s=Estimate.of(step_s, interval=interval, n=2))


def test_a_study_that_step_times_keep_open_does_not_say_that_time_would_not_settle_it() -> None:
    engine = SimulatedEngine(truth=Truth(noise=0.1), step_s=knee(48))
    options = tuple(known_to(1.3, size) for size in (64, 128, 256, 512))

    advice = advise(question(knee(48), budget_s=1100.0, options=options), engine)

    assert "profile with a larger budget" in reason_text(advice.reason)
    told = caveats(advice)["ended_before_budget"].lower()
    assert "the step times leave it open" in told
    assert "time alone" not in told


def state(n_runs: int, *, spent_s: float, **changes: Any) -> StudyState:
    runs: dict[int, list[Run]] = {size: [met(1000)] * n_runs for size in (64, 128)}
    return made_up_state(runs, spent_s=spent_s, **changes)


def why(found: StudyState) -> str | None:
    reason = why_it_ended_early(found, (64, 128))
    return None if reason is None else reason_text(reason)


def test_seeds_that_are_used_up_are_said() -> None:
    told = why(state(64, spent_s=100.0))

    assert told is not None
    assert "each of its 64 seeds" in told


def test_a_next_run_that_costs_more_than_was_left_is_said() -> None:
    told = why(state(2, spent_s=100.0, step_s=lambda size: 1e4))

    assert told is not None
    assert "one more run takes about" in told
