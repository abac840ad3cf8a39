"""MoreBudget: no more is asked for where there was more than that, and why it ended is said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.reference.made_up_outcome import decision
from tests.reference.made_up_state import Run, made_up_state, met
from tests.reference.reason_codes import codes
from tests.reference.simulated_engine import SimulatedEngine, Truth
from tests.reference.simulated_question import knee, option, question

from batchlab.advice.advice import Advice, Option
from batchlab.advice.advisor import advise
from batchlab.advice.answer import answered
from batchlab.advice.verification import Conclusion
from batchlab.records.estimate import Estimate, Reason


def caveats(advice: Advice) -> dict[str, Reason]:
    return {caveat.code: caveat for caveat in advice.caveats}


def known_to(factor: float, size: int) -> Option:
    step_s = knee(48)(size)
    interval = (step_s / factor, step_s * factor)
    return replace(option(size, step_s), step_s=Estimate.of(step_s, interval=interval, n=2))


def test_a_study_that_step_times_keep_open_does_not_say_that_time_would_not_settle_it() -> None:
    engine = SimulatedEngine(truth=Truth(noise=0.1), step_s=knee(48))
    options = tuple(known_to(1.3, size) for size in (64, 128, 256, 512))

    advice = advise(question(knee(48), budget_s=1100.0, options=options), engine)

    assert "better_step_times_would_tell" in codes(advice.reason)
    told = codes(caveats(advice)["ended_before_budget"])
    assert told == {"ended_before_budget", "trainings_tell_no_step_times"}


@pytest.mark.parametrize(
    ("n_runs", "step_s", "code"), [(64, 1e-3, "seeds_used_up"), (2, 1e4, "next_run_too_dear")]
)
def test_why_no_further_run_was_made_is_said(n_runs: int, step_s: float, code: str) -> None:
    runs: dict[int, list[Run]] = {size: [met(1000)] * n_runs for size in (64, 128)}
    state = made_up_state(runs, spent_s=100.0, step_s=lambda size: step_s)
    is_open = decision(verdict="cannot_tell", batch_size=None, inside=(False, False))

    advice = answered(state, Conclusion(decision=is_open), origin="given")

    assert code in codes(caveats(advice)["ended_before_budget"])
