"""Costs: means and draws in closed form, what the law reaches, what misses leave."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import stdtrit
from tests.reference.made_up_state import Run, cut, diverged, made_up_state, met
from tests.reference.simulated_question import BATCH_SIZES, option

from batchlab.advice.decision import N_DRAWS, costs_of, observations
from batchlab.records.estimate import Estimate
from batchlab.records.trial import Status

STEPS = {64: (1000, 1100, 1210), 128: (500, 720)}
Z = 1.959964


def state_of(steps=STEPS, **changes):
    return made_up_state({size: list(map(met, each)) for size, each in steps.items()}, **changes)


def by_the_law(*sizes, scatter=0.0, n_runs=3, exponent=1.0, **changes):
    """Valuation runs of S(B) = 5000 (1 + (200 / B)^exponent), the seeds so far apart."""
    factors = np.exp(scatter * np.linspace(-1, 1, n_runs))
    steps = {size: 5000 * (1 + (200 / size) ** exponent) * factors for size in sizes}
    return state_of({size: [round(step) for step in each] for size, each in steps.items()},
                    **changes)  # fmt: skip


def unsure_of(step_s, *sizes):
    """Options whose step times are known to a factor 1.5 at `sizes`, and exactly elsewhere."""
    return tuple(
        replace(
            option(size, step_s),
            step_s=Estimate.of(
                step_s,
                interval=(step_s / 1.5, step_s * 1.5) if size in sizes else (step_s, step_s),
                n=8,
            ),
        )
        for size in BATCH_SIZES
    )


def test_a_run_that_missed_counts_as_far_as_it_was_followed_and_one_that_diverged_not():
    state = made_up_state({64: [met(1000), cut(4000), diverged(10)], 128: [cut(4000)]})

    costs = costs_of(state)

    assert costs.batch_sizes == (64,)
    assert costs.log_learning_cost == pytest.approx([(math.log(1000) + math.log(4000)) / 2])


@pytest.mark.parametrize("runs", [{}, {64: []}, {64: [cut(4000), diverged(10)]}])
def test_where_no_batch_size_was_valued_there_are_no_costs(runs):
    assert costs_of(made_up_state(runs)) is None


def test_what_is_not_known_of_the_step_time_is_added_to_the_draws():
    state = state_of(options=unsure_of(1e-3, 128))

    costs = costs_of(state)

    added = costs.draws - costs.learning_cost_draws - math.log(1e-3)
    assert added[:, 0] == pytest.approx(0.0, abs=1e-12)
    sd = math.log(1.5) / Z
    assert abs(np.std(added[:, 1]) - sd) < 4 * sd / (2 * N_DRAWS) ** 0.5
    assert abs(np.mean(added[:, 1])) < 4 * sd / N_DRAWS**0.5


def test_draws_of_a_mean_are_students_t_around_it():
    # Seven degrees of freedom: five runs here and four there, scattered by 20 %.
    steps = {64: (800, 900, 1000, 1111, 1250), 128: (400, 500, 500, 625)}

    costs = costs_of(state_of(steps, objective="samples"))

    logs = [np.log(each) for each in steps.values()]
    squares = sum(((each - each.mean()) ** 2).sum() for each in logs)
    for column, each in enumerate(logs):
        error = costs.learning_cost_draws[:, column] - each.mean()
        scaled = error / math.sqrt(squares / 7 / len(each))
        share = np.mean(np.abs(scaled) <= stdtrit(7, 0.975))
        assert abs(share - 0.95) < 4 * math.sqrt(0.95 * 0.05 / N_DRAWS)
        half = np.mean(np.abs(scaled) <= stdtrit(7, 0.75))
        assert abs(half - 0.5) < 4 * math.sqrt(0.25 / N_DRAWS)
        assert abs(np.mean(scaled)) < 4 * math.sqrt(7 / 5 / N_DRAWS)


def test_where_the_law_holds_it_reaches_every_batch_size_that_ran():
    costs = costs_of(by_the_law(64, 256, 1024, scatter=0.02, objective="samples"))

    assert costs.fit.law_holds
    assert costs.batch_sizes == BATCH_SIZES
    truth = np.log([5000 * (1 + 200 / size) for size in BATCH_SIZES])
    # Nine runs that lie on the law but for 0.02 to both sides, which cancels in their means.
    assert costs.log_learning_cost == pytest.approx(truth, abs=1e-3)
    low, high = np.quantile(costs.learning_cost_draws, (0.025, 0.975), axis=0)
    assert np.all((low < truth) & (truth < high))


def test_where_the_law_does_not_hold_only_batch_sizes_between_the_valued_ones_have_a_cost():
    costs = costs_of(by_the_law(32, 64, 128, 512, 2048, scatter=0.004, exponent=2.0))

    assert not costs.fit.law_holds
    assert costs.batch_sizes == (32, 64, 128, 256, 512, 1024, 2048)


def test_runs_that_measure_nothing_are_no_observations():
    met_untrained = Run(Status.TARGET_REACHED, ((0, 0.98),))
    never_begun = Run(Status.TIMEOUT, ((0, 0.1),))
    state = made_up_state({64: [diverged(700), met_untrained, never_begun]})

    assert observations(state, state.until) == []
