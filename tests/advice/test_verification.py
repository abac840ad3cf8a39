"""Verification: paired fresh seeds, bounds where a run missed, and what speaks against it."""

import math

import numpy as np
import pytest
from tests.reference.by_day import by_day
from tests.reference.made_up_outcome import quality_state
from tests.reference.made_up_state import cut, diverged, learning_rate, made_up_state, met, scored
from tests.reference.simulated_engine import SimulatedEngine, Truth
from tests.reference.simulated_question import knee, question

from batchlab.advice.run_log import SeedPlan
from batchlab.advice.study_state import StudyState
from batchlab.advice.tuning import run_valuations, tune
from batchlab.advice.verification import disagreement, read, verify
from batchlab.advice.whole_trainings import limit_steps
from batchlab.records.estimate import Estimate

STEP_S = knee(512)


def verified(*, truth, salt=0, budget_s=1e6, **changes):
    engine = SimulatedEngine(truth=truth, step_s=STEP_S, salt=salt)
    asked = question(STEP_S, budget_s=budget_s, **changes)
    state = StudyState(question=asked, engine=engine, until=asked.target)
    for size in (64, 512):
        tune(state, state.sizes[size], limit_steps=10**6)
        run_valuations(state, state.sizes[size], 3)
    return verify(state, state.sizes[512]), state


@pytest.mark.slow
@pytest.mark.parametrize("n_studies", by_day([60, 200], [60]))
def test_the_interval_of_the_gain_holds_the_truth_about_95_times_in_100(n_studies):
    truth = Truth(noise=0.08)
    held = 0
    for salt in range(n_studies):
        verification, state = verified(truth=truth, salt=salt)
        rate = state.sizes[512].cell[1]
        true_gain = truth.steps(64, 0.01) * STEP_S(64) / (truth.steps(512, rate) * STEP_S(512))
        held += verification.gain.low <= true_gain <= verification.gain.high

    standard_error = (0.95 * 0.05 / n_studies) ** 0.5
    assert abs(held / n_studies - 0.95) <= 4 * standard_error


def test_a_reference_that_missed_gives_a_bound_from_how_long_it_was_followed():
    verification, _ = verified(truth=Truth(noise=0.02, best_rate=0.5, left=0.3))

    assert verification.gain.estimate is None
    assert verification.gain.high is None
    bounds = verification.head_to_head.reference_bounds
    ratios = [
        math.log(bound / mine)
        for bound, mine in zip(bounds, verification.head_to_head.recommended, strict=True)
    ]
    assert verification.gain.low <= math.exp(np.mean(ratios))


@pytest.mark.parametrize("noise", [0.0, 0.003])
def test_seeds_that_meet_the_target_at_the_same_evaluation_leave_the_distance_to_the_one_before(
    noise,
):
    """Their scatter says nothing of where between the two it was met, nor do more of them."""
    n_held = 0
    for s_min in (500.0, 540.0, 580.0, 620.0, 660.0):
        truth = Truth(noise=noise, s_min=s_min)
        verification, state = verified(truth=truth)
        rate = state.sizes[512].cell[1]
        true_gain = truth.steps(64, 0.01) * STEP_S(64) / (truth.steps(512, rate) * STEP_S(512))
        n_held += verification.gain.low <= true_gain <= verification.gain.high
        assert verification.half_width > 0.002
    assert n_held == 5


def test_for_quality_a_run_that_failed_is_no_figure_and_not_so_many_steps():
    state = quality_state()
    seeds = state.seeds.verify[:3]
    ends = {(128, learning_rate(128)): [scored(0.96), diverged(20), scored(0.96)]}
    ends |= {cell: [scored(0.95)] * 3 for cell in ((64, 0.01), (64, learning_rate(64)))}
    for (size, rate), runs in ends.items():
        for seed, run in zip(seeds, runs, strict=True):
            trial = state.engine.trial(batch_size=size, learning_rate=rate, seed=seed)
            state.records[size, rate, seed] = run.record_of(trial)
            state.purposes[size, rate, seed] = "verify"

    verification = read(state, seeds, (128, learning_rate(128)), n_looks=1)

    assert (verification.n, verification.missed) == (2, 1)
    assert verification.gain.estimate == pytest.approx(0.05 / 0.04)
    assert math.exp(verification.log_learning_cost) == pytest.approx(0.04)


def test_without_budget_nothing_is_verified_and_the_gain_is_not_told():
    truth = Truth()
    engine = SimulatedEngine(truth=truth, step_s=STEP_S)
    asked = question(STEP_S, budget_s=1e6)
    state = StudyState(question=asked, engine=engine, until=asked.target)
    for size in (64, 512):
        tune(state, state.sizes[size], limit_steps=10**6)
        run_valuations(state, state.sizes[size], 2)
    engine.elapsed_s = 1e6

    verification = verify(state, state.sizes[512])

    assert verification.head_to_head is None
    assert verification.gain.reason


VERIFYING = SeedPlan.of(None).verify


def slow_on(seeds, *, times):
    """Batch size 512 takes so many times as many steps on these seeds."""
    return Truth(noise=0.05, slow=lambda b, s: times if b == 512 and s in seeds else 1.0)


def test_fresh_seeds_that_are_slower_than_promised_are_doubled_and_stand_against_it():
    verification, state = verified(truth=slow_on(VERIFYING, times=2.6))

    assert len(state.of_cell(state.sizes[512].cell, "verify")) == 6
    assert verification.against.code == "slower_on_fresh_seeds"
    assert verification.against.named["times"] == pytest.approx(2.6, rel=0.15)


def test_a_seed_that_missed_counts_for_as_long_as_it_was_followed():
    missed, state = verified(truth=slow_on(VERIFYING[:1], times=3.5))
    chosen = state.sizes[512].cell

    limit = math.log(limit_steps(state, chosen))
    met = [math.log(steps / STEP_S(512)) for steps in missed.head_to_head.recommended if steps]
    assert missed.log_learning_cost == pytest.approx((sum(met) + limit) / 6)
    # And with the scatter that it shows.
    without, _ = verified(truth=slow_on((), times=1.0))
    assert missed.gain.estimate < without.gain.estimate
    assert missed.gain.low < 0.8 * without.gain.low


@pytest.mark.parametrize(("draws_by_seed", "missed"), [(True, 1), (False, 2)])
def test_a_seed_whose_examples_are_too_hard_for_the_references_too_is_no_miss(
    draws_by_seed, missed
):
    state = made_up_state({64: [met(2000)] * 2, 128: [met(1000)] * 2}, draws_by_seed=draws_by_seed)
    seeds, never = state.seeds.verify[:4], cut(10**6)
    runs = {REFERENCE: [met(2000), met(2000), met(2000), never]}
    runs |= {
        (64, learning_rate(64)): [*[met(1500)] * 3, never],
        MINE: [met(1000)] * 2 + [never] * 2,
    }
    for (size, rate), each in runs.items():
        for seed, run in zip(seeds, each, strict=True):
            trial = state.engine.trial(batch_size=size, learning_rate=rate, seed=seed)
            state.records[size, rate, seed] = run.record_of(trial)
            state.purposes[size, rate, seed] = "verify"

    verification = read(state, seeds, MINE, n_looks=1)

    assert verification.missed == missed
    assert (verification.against is None) == draws_by_seed


MINE = (128, learning_rate(128))
REFERENCE = (64, 0.01)
STATE = made_up_state({64: [met(2000), met(2100)], 128: [met(1000), met(1050)]})
AS_PROMISED = [math.log(1010), math.log(1040), math.log(1000)]


def gain(estimate: float, low: float, high: float) -> Estimate:
    return Estimate.of(estimate, interval=(low, high), n=3)


def later(by: float) -> list[float]:
    return [cost + by for cost in AS_PROMISED]


@pytest.mark.parametrize(
    ("log_costs", "missed", "code"),
    [
        (AS_PROMISED, 0, None),
        (later(-1.0), 0, None),
        (later(math.log(1.09)), 0, None),  # within chance and delta
        (later(math.log(2.6)), 0, "slower_on_fresh_seeds"),
        (AS_PROMISED[:2], 1, None),
        (AS_PROMISED, 3, "missed_on_fresh_seeds"),  # half of them
    ],
)
def test_what_stands_against_it_are_misses_and_more_than_was_promised(log_costs, missed, code):
    gains = {REFERENCE: gain(2.0, 1.6, 2.4)}

    why, instead = disagreement(STATE, MINE, log_costs, missed=missed, gains=gains, lost_to=[])

    assert (why and why.code, instead) == (code, None)


@pytest.mark.parametrize(
    ("other", "found", "lost", "falls"),
    [
        (REFERENCE, gain(0.8, 0.7, 0.9), False, True),  # for sure
        (REFERENCE, gain(0.85, 0.6, 1.2), True, True),  # on every seed, and by more than delta
        (REFERENCE, gain(0.85, 0.6, 1.2), False, False),
        (REFERENCE, gain(0.95, 0.6, 1.2), True, False),  # within delta
        (MINE, gain(0.8, 0.7, 0.9), True, False),  # it is not held against itself
    ],
)
def test_a_reference_that_was_better_stands_in_for_it(other, found, lost, falls):
    lost_to = [other] if lost else []

    against = disagreement(
        STATE, MINE, AS_PROMISED, missed=0, gains={other: found}, lost_to=lost_to
    )

    expected = ("reference_was_better", REFERENCE) if falls else (None, None)
    assert (against[0] and against[0].code, against[1]) == expected
    assert not falls or (against[0].named["other"], against[0].named["rate"]) == REFERENCE


@pytest.mark.parametrize(("estimate", "stays"), [(0.97, True), (1.03, False)])
def test_where_ends_alone_are_compared_one_below_ones_own_wins_nothing(estimate, stays):
    found = gain(estimate, 0.9, 1.1)
    ends = {64: [scored(0.95)] * 2, 128: [scored(0.95)] * 2}
    state = made_up_state(ends, objective="quality", longest_epochs=10.0)
    log_costs = [math.log(0.05)] * 3

    _, instead = disagreement(
        state, MINE, log_costs, missed=0, gains={REFERENCE: found}, lost_to=[]
    )

    assert instead == (REFERENCE if stays else None)
