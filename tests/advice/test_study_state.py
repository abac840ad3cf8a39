"""StudyState: seeds with one purpose each, rates that give way, bounds for what was not run."""

import math

import pytest
from tests.reference.simulated_engine import SimulatedEngine, Truth
from tests.reference.simulated_question import knee, question

from batchlab.advice.decision import costs_of
from batchlab.advice.run_log import SeedPlan
from batchlab.advice.study_state import StudyState
from batchlab.advice.tuning import run_valuations, tune

STEP_S = knee(512)


def found(*, truth=None, salt=0, **changes):
    engine = SimulatedEngine(truth=truth or Truth(noise=0.05), step_s=STEP_S, salt=salt)
    asked = question(STEP_S, budget_s=1e6, **changes)
    return StudyState(question=asked, engine=engine, until=asked.target)


@pytest.mark.parametrize("n_seeds", [4, 5, 6, 10, 20, None])
def test_no_seed_has_two_purposes(n_seeds):
    plan = SeedPlan.of(n_seeds)

    seeds = [*plan.tune, *plan.value, *plan.verify]
    assert len(seeds) == len(set(seeds))
    assert plan.tune
    assert plan.value
    assert plan.verify
    assert n_seeds is None or set(seeds) == set(range(n_seeds))


def test_a_rate_that_fresh_seeds_speak_against_is_moved_back():
    state = found(truth=Truth(noise=0.0, right=0.3))
    search = tune(state, state.sizes[64], limit_steps=10**6)
    good, cost = search.learning_rate, search.learning_cost
    run_valuations(state, state.sizes[64], 3)
    # As if a second seed had moved it an octave up.
    search.former.append((good, cost))
    search.learning_rate, search.learning_cost = 2 * good, cost

    run_valuations(state, state.sizes[64], 3)

    assert search.learning_rate == good
    assert len(state.sizes[64].valuations) == 3


def test_what_misses_rule_out_is_not_read_off_the_law():
    state = found(truth=Truth(noise=0.0))
    for size in (64, 256, 1024):
        tune(state, state.sizes[size], limit_steps=10**6)
        run_valuations(state, state.sizes[size], 2)
    assert set(costs_of(state).batch_sizes) >= {2048, 4096, 8192}

    law = costs_of(state).fit
    just_below = math.exp(law.log_steps([4096])[0] - 0.01)
    state.sizes[4096].missed_at = math.floor(just_below)
    possible = costs_of(state)
    drawn = possible.learning_cost_draws[:, possible.batch_sizes.index(4096)]
    assert drawn.min() == pytest.approx(math.log(math.floor(just_below)))
    assert drawn.min() > law.log_steps_draws([4096]).min()

    state.sizes[4096].missed_at = 10_000

    assert set(costs_of(state).batch_sizes) & {1024, 2048, 4096, 8192} == {1024}


def slow_on(*seeds, batch_size=512, times=3.5):
    """A truth whose batch size takes so many times as many steps on these seeds."""
    return Truth(
        noise=0.02, slow=lambda b, s: times if (b, s) in {(batch_size, x) for x in seeds} else 1.0
    )


def test_one_slow_seed_removes_neither_a_rate_nor_a_batch_size():
    state = found(truth=slow_on(10))
    rate = tune(state, state.sizes[512], limit_steps=10**6).learning_rate

    assert run_valuations(state, state.sizes[512], 1)

    assert state.sizes[512].cell == (512, rate)
    assert state.ruled_out == {}
    costs = state.sizes[512].learning_costs()
    usual = Truth().steps(512, rate)
    assert sorted(costs) == pytest.approx([usual, usual, state.sizes[512].value_limit], rel=0.1)


def test_two_slow_seeds_of_three_were_a_lucky_rate():
    state = found(truth=slow_on(10, 11))
    rate = tune(state, state.sizes[512], limit_steps=10**6).learning_rate

    run_valuations(state, state.sizes[512], 1)

    assert state.sizes[512].cell is None or state.sizes[512].cell[1] < rate


def test_two_seeds_that_no_rate_meets_rule_a_batch_size_out():
    state = found(truth=slow_on(0, 1))
    tune(state, state.sizes[64], limit_steps=10**6)
    run_valuations(state, state.sizes[64], 1)
    limit = math.ceil(1.6 * Truth().best_steps(512))

    search = tune(state, state.sizes[512], limit_steps=limit)

    assert search.learning_rate is None
    assert search.seeds == [0, 1]
    assert tune(state, state.sizes[512], limit_steps=10**6).learning_rate is not None
