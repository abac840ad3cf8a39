"""The search for a learning rate: it finds the basin, widens its range, survives divergence."""

import math

import numpy as np
import pytest
from tests.reference.made_up_state import cut, made_up_state, met
from tests.reference.simulated_engine import SimulatedEngine, Truth
from tests.reference.simulated_question import knee, question

from batchlab.advice.study_state import RateSearch, StudyState
from batchlab.advice.tuning import run_valuations

STEP_S = knee(64)


def search(*, truth=None, start=0.0, strides=(1,), limit=10**6, budget_s=1e9, **engine):
    truth = truth or Truth(noise=0.0)
    simulated = SimulatedEngine(truth=truth, step_s=STEP_S, **engine)
    asked = question(STEP_S, budget_s=budget_s)
    state = StudyState(question=asked, engine=simulated, until=asked.target)
    found = RateSearch(size=state.sizes[64])
    found.run(start=start, limit_steps=limit, seed=0, strides=strides)
    return found, simulated


@pytest.mark.parametrize("start", [-4.0, 0.0, 2.0, 3.9])
@pytest.mark.parametrize("strides", [(1,), (2, 1)])
def test_the_rate_found_lies_within_half_an_octave_wherever_the_search_begins(start, strides):
    found, _ = search(start=start, strides=strides)

    assert abs(math.log2(found.learning_rate / 0.04)) <= 0.5
    assert found.finished


@pytest.mark.parametrize(("left", "octaves"), [(0.08, 1.0), (0.2, 2.0)])
def test_beside_a_rate_that_diverges_the_next_lower_is_taken_where_hardly_slower(left, octaves):
    truth = Truth(noise=0.0, best_rate=0.01 * 2**2, left=left, right=0.1, cliff_octaves=0.5)

    found, _ = search(truth=truth)

    assert math.log2(found.learning_rate / 0.01) == octaves


def test_an_engine_with_certain_rates_is_asked_for_no_other():
    class Gridded(SimulatedEngine):
        def learning_rates(self, batch_size):
            return [0.01, 0.02, 0.04]

    asked = question(STEP_S, budget_s=1e9)
    engine = Gridded(truth=Truth(noise=0.0, best_rate=0.1), step_s=STEP_S)
    state = StudyState(question=asked, engine=engine, until=asked.target)
    found = RateSearch(size=state.sizes[64])

    found.run(start=0.0, limit_steps=10**6, seed=0)

    assert found.learning_rate == 0.04
    assert {ask.trial.learning_rate for ask in engine.asked} <= {0.01, 0.02, 0.04}


def test_a_second_seed_is_asked_about_the_best_rate_and_its_neighbours():
    found, engine = search(truth=Truth(noise=0.05))
    before = len(engine.asked)

    assert found.confirm(limit_steps=10**6, seed=1)

    seeds = [ask.trial.seed for ask in engine.asked[before:]]
    assert seeds == [1, 1, 1]


def test_what_a_further_seed_saves_is_what_the_lowest_point_of_a_noisy_parabola_costs():
    sd = 0.02
    found, _ = search(truth=Truth(noise=0.0, best_rate=0.04, left=0.2, right=0.2))
    middle, *beside = sorted(
        math.log(found.run_log.learning_cost(record)) for record in found.records
    )
    rise = sum(beside[:2]) / 2 - middle
    rng = np.random.default_rng(0)

    def costs(n_seeds):
        noise = sd / math.sqrt(n_seeds) * rng.standard_normal((200_000, 3))
        below, above = rise + noise[:, 0] - noise[:, 1], rise + noise[:, 2] - noise[:, 1]
        lowest = (below - above) / (2 * (below + above))
        return float(np.mean(rise * lowest**2))

    assert found.further_seed_saves(sd) == pytest.approx(costs(1) - costs(2), rel=0.1)
    found.confirm(limit_steps=10**6, seed=1)
    assert found.further_seed_saves(sd) == pytest.approx(costs(2) - costs(3), rel=0.1)


def test_a_rate_that_fails_later_gives_way_to_the_next_lower_one():
    found, _ = search()
    before = found.learning_rate

    found.step_down()

    assert found.learning_rate <= before / 1.4


@pytest.mark.parametrize(("draws_by_seed", "keeps"), [(True, True), (False, False)])
def test_a_rate_is_not_to_blame_for_seeds_too_hard_for_the_reference_too(draws_by_seed, keeps):
    runs = [met(1000), cut(10**5), cut(10**5)]
    state = made_up_state({64: runs, 128: runs}, draws_by_seed=draws_by_seed)
    size = state.sizes[128]
    rate = size.search.learning_rate

    run_valuations(state, size, 3)

    assert (size.search.learning_rate == rate) == keeps
