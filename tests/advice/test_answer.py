"""The answer: every figure follows from the state and the conclusion in closed form."""

import math
from dataclasses import replace

import numpy as np
import pytest
from tests.reference.made_up_advice import ending_at, ends_beside
from tests.reference.made_up_outcome import (
    END,
    STEP_S,
    STEPS,
    WHY,
    decision,
    quality_state,
    state_of,
    verification,
)
from tests.reference.made_up_state import BUDGET_S, Run, learning_rate, made_up_state, met
from tests.reference.reason_codes import codes
from tests.reference.simulated_engine import N_TRAIN, SimulatedEngine, Truth
from tests.reference.simulated_question import knee, option, question

from batchlab.advice.advice import Advice, Option
from batchlab.advice.advisor import advise
from batchlab.advice.answer import answered
from batchlab.advice.decision import costs_of
from batchlab.advice.verification import Conclusion
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.trial import Status


def open_decision(high):
    return decision(verdict="cannot_tell", batch_size=None, inside=(False, False), high=(9.0, high))


UNVERIFIED = verification(
    head_to_head=None,
    log_learning_cost=None,
    half_width=None,
    n=0,
    gain=Estimate.cannot_tell(WHY),
    gain_from_batch_size=Estimate.cannot_tell(WHY),
)


def answer(state, *, origin="given", **outcome):
    return answered(state, Conclusion(**outcome), origin=origin)


def recommended(state=None, **changes):
    """The answer where 128 is recommended, verified unless `changes` say otherwise."""
    found = {"decision": decision(), "verification": verification()} | changes
    return answer(state or state_of(), **found)


@pytest.mark.parametrize(
    ("better_by", "half", "named"),
    [
        (-0.0030, 0.0030, 64),
        (-0.0030, 0.0080, 64),  # the seeds scatter, but more speaks against it than for it
        (-0.0010, 0.0080, 128),  # within the margin, 0.0011
    ],
)
def test_the_best_so_far_is_what_ends_best_where_the_fastest_ends_worse_in_the_mean(
    better_by, half, named
):
    state = state_of()
    state.end = END
    yours = ending_at(64, 0.01, 0.978)
    mine = ending_at(128, learning_rate(128), 0.978 + better_by)
    ends = ends_beside(yours, mine, better_by=better_by, half=half, verdict="open")
    seen = verification(endings=replace(ends, reason=WHY))

    advice = recommended(state, verification=seen, origin="pilot")

    assert (advice.verdict, advice.reason) == ("cannot_tell", WHY)
    assert advice.provisional.batch_size == named


def test_a_recommendation_that_fresh_seeds_speak_against_is_none():
    state = state_of()
    missed = Reason.of("missed_on_fresh_seeds", size=128, missed=2, n=3)

    advice = recommended(state, verification=verification(n=1, missed=2, against=missed))

    assert advice.verdict == "cannot_tell"
    assert advice.missing == advice.reason
    assert advice.recommendation is None
    assert advice.provisional.batch_size == state.best.batch_size == 128
    assert (advice.expected, advice.head_to_head, advice.flat_set) == (None, None, ())
    assert advice.gain.estimate is None
    assert advice.gain.reason
    assert advice.pay_back_runs is None


def test_for_now_it_is_the_reference_where_that_was_better_on_fresh_seeds():
    why = Reason.of("reference_was_better", size=128, other=64, rate=0.01, n=3)
    against = {"against": why, "instead": (64, 0.01)}

    advice = recommended(verification=verification(**against))

    assert (advice.verdict, advice.reason) == ("cannot_tell", why)
    assert (advice.provisional.batch_size, advice.provisional.learning_rate) == (64, 0.01)


def test_a_seed_that_missed_among_others_is_told_and_leaves_the_answer():
    advice = recommended(verification=verification(n=5, missed=1))

    assert advice.verdict == "recommend"
    assert Reason.of("some_seeds_missed", missed=1, n=6) in advice.caveats


@pytest.mark.parametrize(
    ("high", "times"),
    [
        (1.1**2, 3.0),  # twice too wide: four times the runs, of which there is one
        (1.05, 0.5),  # hardly too wide, or not: half as much again at least
    ],
)
def test_intervals_shrink_with_the_root_of_the_runs(high, times):
    advice = answer(state_of(spent_s=BUDGET_S), decision=open_decision(high))

    assert advice.more_budget_s == pytest.approx(times * BUDGET_S)


@pytest.mark.parametrize("high", [1.1**4, math.inf])
def test_beyond_five_times_as_much_it_is_not_known_how_much_more_would_tell(high):
    advice = answer(state_of(spent_s=BUDGET_S), decision=open_decision(high))

    assert advice.more_budget_s is None


def test_where_a_script_evaluates_too_seldom_that_would_tell_and_no_budget():
    first = [Run(Status.TARGET_REACHED, ((0, 0.1), (94, 0.98))) for _ in range(2)]
    state = made_up_state({64: first, 128: first}, spent_s=BUDGET_S)
    state.engine.capabilities = replace(state.engine.capabilities, keeps_cadence=False)

    advice = answer(state, decision=open_decision(1.1**2))

    assert "nearer_marks_would_tell" in codes(advice.missing)
    assert "marks_too_wide" in {caveat.code for caveat in advice.caveats}
    assert advice.more_budget_s is None


def test_expected_time_is_the_verified_steps_times_the_step_time_with_both_errors():
    expected = recommended().expected

    assert expected.steps_to_target.estimate == pytest.approx(400)
    assert expected.steps_to_target.n == 3
    assert math.log(expected.steps_to_target.high / 400) == pytest.approx(0.1)
    assert math.log(expected.steps_to_target.low / 400) == pytest.approx(-0.1)
    assert expected.time_to_target_s.estimate == pytest.approx(400 * STEP_S)
    step_half = math.log(1.01 / 0.99) / 2
    for bound, sign in ((expected.time_to_target_s.low, -1), (expected.time_to_target_s.high, 1)):
        half = sign * math.hypot(0.1, step_half)
        assert math.log(bound / (400 * STEP_S)) == pytest.approx(half)


def test_without_verification_the_valuation_runs_say_what_is_expected():
    state = state_of()

    steps = recommended(state, verification=UNVERIFIED).expected.steps_to_target

    costs = costs_of(state)
    assert steps.estimate == pytest.approx(np.exp(np.mean(np.log(STEPS[128]))))
    drawn = np.exp(costs.learning_cost_draws[:, 1])
    assert (steps.low, steps.high) == pytest.approx(np.quantile(drawn, (0.025, 0.975)), rel=1e-4)
    assert steps.n == 3


@pytest.mark.parametrize(
    ("given", "steps"),
    [
        ({"longest_epochs": 5}, 5 * math.ceil(N_TRAIN / 128)),
        ({"longest_epochs": None, "longest_s": 1.0}, 500),
    ],
)
def test_for_quality_every_run_has_the_steps_that_are_given(given, steps):
    advice = recommended(quality_state(**given))

    assert advice.expected.steps_to_target.estimate == steps
    assert advice.expected.time_to_target_s.estimate == pytest.approx(steps * STEP_S)
    assert advice.candidate(128).steps_to_target.estimate == steps


def test_the_study_pays_back_after_what_it_took_over_what_a_run_saves():
    advice = recommended(state_of(spent_s=100.0))

    # A run takes 400 steps of 2 ms, the reference three times that.
    assert advice.pay_back_runs == pytest.approx(100.0 / (2 * 400 * STEP_S))


@pytest.mark.parametrize(
    ("state", "verified"),
    [
        (state_of(), verification(gain=Estimate.of(1.0, interval=(1.0, 1.0), n=3))),
        (state_of(), verification(gain=Estimate.of(0.9, interval=(0.8, 1.1), n=3))),
        (state_of(), UNVERIFIED),
        (state_of(), None),
        (state_of(objective="samples"), verification()),
        (quality_state(), verification()),
    ],
)
def test_nothing_pays_back_that_saves_no_time_for_sure(state, verified):
    assert recommended(state, verification=verified).pay_back_runs is None


def test_what_is_better_for_sure_is_named_though_the_best_is_open():
    advice = answer(
        state_of(spent_s=BUDGET_S), decision=open_decision(1.2), verification=verification()
    )

    assert advice.verdict == "better"
    assert advice.recommendation.batch_size == 128
    assert advice.recommendation.learning_rate == learning_rate(128)
    assert advice.provisional is None
    assert (advice.gain.estimate, advice.flat_set) == (3.0, ())
    assert advice.missing.code == "may_take_longer_than_best"
    assert (advice.missing.named["size"], advice.missing.named["times"]) == (128, 1.2)
    assert advice.reason.quotes(advice.missing)
    assert advice.more_budget_s > 0
    assert advice.expected.steps_to_target.estimate == pytest.approx(400)
    assert advice.pay_back_runs == pytest.approx(BUDGET_S / (2.0 * 400 * STEP_S))


@pytest.mark.parametrize(
    ("low_than_own", "low_gain", "verdict"),
    [
        (0.0, 2.5, "better"),
        (-0.0030, 2.5, "cannot_tell"),  # it may end worse than yours, too
        (0.0, 0.9, "cannot_tell"),  # it may not be sooner
    ],
)
def test_what_is_sooner_and_ends_no_worse_than_yours_is_named_though_the_tuned_may_end_better(
    low_than_own, low_gain, verdict
):
    yours, tuned = ending_at(64, 0.01, 0.975), ending_at(64, learning_rate(64), 0.978)
    mine = ending_at(128, learning_rate(128), 0.978)
    ends = ends_beside(tuned, mine, better_by=0.0, half=0.003, verdict="open")
    than_own = Estimate.of(0.003, interval=(low_than_own, 0.006), n=3)
    ends = replace(ends, reference=yours, reference_tuned=tuned, than_own=than_own, reason=WHY)
    state = state_of()
    state.end = END
    gain = Estimate.of(3.0, interval=(low_gain, 3.5), n=3)

    advice = recommended(state, verification=verification(endings=ends, gain=gain), origin="pilot")

    assert advice.verdict == verdict
    assert advice.missing == WHY
    if verdict == "better":
        assert advice.recommendation.batch_size == 128
        assert advice.reason.code == "better_than_own"
        assert advice.reason.quotes(WHY)
    else:
        assert advice.recommendation is None


@pytest.mark.parametrize(
    ("value", "code"), [(0.97, "faster_seems_to_end_worse"), (None, "faster_not_seen_to_end")]
)
def test_of_what_was_passed_over_it_is_told_how_it_ends(value, code):
    yours, mine = ending_at(64, 0.01, 0.978), ending_at(128, learning_rate(128), 0.97)
    mine = replace(mine, values=(value,) * 3)
    passed = ends_beside(yours, mine, better_by=-0.008, half=0.009, verdict="open")
    state = state_of()
    state.end = END
    seen = verification(endings=ends_beside(yours, yours, better_by=0, half=0, verdict="no_worse"))

    advice = recommended(
        state, decision=open_decision(1.3), verification=seen, passed_over=passed, origin="pilot"
    )

    assert advice.missing.code == code


def caveats(advice: Advice) -> dict[str, Reason]:
    return {caveat.code: caveat for caveat in advice.caveats}


def test_a_study_that_ended_before_its_budget_asks_for_no_more_and_says_why() -> None:
    engine = SimulatedEngine(truth=Truth(noise=0.3), step_s=knee(48), n_seeds=5)

    advice = advise(question(knee(48), budget_s=1100.0), engine)

    assert advice.verdict == "cannot_tell"
    assert advice.spent_s < 0.2 * advice.budget_s
    assert advice.more_budget_s is None
    assert "ended_before_budget" in caveats(advice)


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
