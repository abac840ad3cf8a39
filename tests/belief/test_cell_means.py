"""Means of cells, their differences and statements from draws: closed cases, and coverage."""

from itertools import product

import numpy as np
import pytest
from tests.reference.by_day import by_day
from tests.reference.made_up import made_up_record

from batchlab.belief.cell_means import CellMeans
from batchlab.belief.final_value import end_errors
from batchlab.belief.statements import as_good, better_than_all, falls, no_worse_than_any, rises
from batchlab.errors import UsageError
from batchlab.records.trial import Status


def accuracies(*cells, n_examples=1000):
    return CellMeans.of(cells, metric="accuracy", better="higher", n_examples=n_examples)


@pytest.mark.parametrize("n", [2, 3])
def test_two_seeds_tell_a_large_difference(n):
    """Percent gives a hundred times the share."""
    cells = ([0.9695, 0.9715], [0.9365, 0.9377], [0.951, 0.952])[:n]
    apart = accuracies(*cells).difference(0, 1)
    percent = accuracies(*(100 * np.array(values) for values in cells)).difference(0, 1)

    assert apart.estimate == pytest.approx(0.0334)
    assert 0 < apart.low < apart.high < 0.08
    assert apart.n == 4
    assert percent.low == pytest.approx(100 * apart.low, rel=1e-6)


def test_one_seed_each_tells_0_9748_from_0_9477():
    """From one seed each, as a sweep of MNIST had it; 5,000 examples."""
    means = accuracies([0.9748], [0.9477], [0.9721], n_examples=5000)

    assert means.difference(0, 1).low > 0
    assert means.difference(0, 2).low < 0


@pytest.mark.parametrize(("metric", "whole"), [("accuracy", 1), ("accuracy", 100), ("loss", 1)])
def test_rough_ends_widen_what_one_seed_tells_and_smooth_ones_narrow_it(metric, whole):
    of = {"metric": metric, "better": "lower" if metric == "loss" else "higher"}

    def half(*errors):
        cells, errors = [[0.9 * whole], [0.91 * whole]], [error * whole for error in errors]
        known = CellMeans.of(cells, end_errors=errors, **of).difference(0, 1)
        return known.high - known.low

    smooth, unknown, rough = half(1e-5), half(), half(1e-5, 0.02, 0.02)

    assert smooth < unknown < rough


def test_errors_are_those_of_ends_on_validation_data_of_runs_that_ended_well():
    """The made-up accuracies go up and down by 0.01 from epoch to epoch."""
    curves = {("validation", "accuracy"): lambda epoch: 0.9 + 0.01 * (-1) ** round(epoch)}
    records = [made_up_record(curves=curves, epochs=40, status=s) for s in (Status.OK, Status.NAN)]

    (error,) = end_errors(records, "accuracy")

    assert 0.003 < error < 0.01


@pytest.mark.parametrize("first", [[1.0, 1.0], [1.0, 0.1], [0.4, 0.6], [0.7]])
@pytest.mark.parametrize("second", [[0.0, 0.0], [0.9, 0.0], [0.5, 0.501], [0.2]])
def test_no_difference_of_accuracies_exceeds_1(first, second):
    apart = accuracies(first, second).difference(0, 1, confidence=0.999)

    assert -1 <= apart.low <= apart.estimate <= apart.high <= 1


def test_single_seeds_of_an_unknown_metric_have_no_interval():
    means = CellMeans.of([[-0.9], [0.8]], metric="reward", better="higher")

    apart = means.difference(1, 0)
    assert (means.mean(0).low, apart.low, means.draws) == (None, None, None)
    assert apart.estimate == pytest.approx(1.7)
    # Nor has a cell without values, which has a reason.
    means = accuracies([0.9, 0.8], [])
    assert means.mean(1).reason
    assert means.difference(0, 1).reason
    assert np.isnan(means.draws[:, 1]).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_never_averaged(bad):
    with pytest.raises(UsageError, match="diverged"):
        accuracies([0.9, bad])


def test_gaps_scatter_as_the_held_out_metric_does_and_steps_as_recorded_ones():
    """Recorded seeds need 13 % more or fewer steps in the median."""
    held_out = accuracies([0.95], [0.94])
    gap, known = held_out.of_gaps([[0.04], [0.05]]).mean(0), held_out.mean(0)
    steps = CellMeans.of_steps([[np.log(1000)], [np.log(500)]]).mean(0)

    assert gap.high - gap.low == pytest.approx(known.high - known.low, rel=0.2)
    assert 0.15 < steps.high - steps.estimate < 0.6


def drawn(n_cells, n_seeds, random, *, unlike=0.0, tail=None, shared=0.0, is_accuracy=False):
    """Values of a sweep, shape (cells, seeds), and the true mean of each cell.

    The log of the cells' own standard deviations has the deviation `unlike`; the noise of seeds has
    `tail` degrees of freedom (None: it is normal) and the correlation `shared` between cells.
    """
    sd = np.exp(unlike * random.standard_normal(n_cells))[:, None]

    def noise(*shape):
        return random.standard_normal(shape) if tail is None else random.standard_t(tail, shape)

    own = noise(n_cells, n_seeds)
    seen = (1 - shared) ** 0.5 * own + shared**0.5 * noise(1, n_seeds)
    if not is_accuracy:
        return sd * seen, np.zeros(n_cells)
    log_odds = np.linspace(4.0, 3.0, n_cells)[:, None]  # 0.982 to 0.953
    many = log_odds + 0.15 * sd * noise(n_cells, 4000)
    values = 1 / (1 + np.exp(-(log_odds + 0.15 * sd * seen)))
    return np.round(1000 * values) / 1000, np.mean(1 / (1 + np.exp(-many)), axis=1)


SWEEPS = {
    "equal scatter": {},
    "scatter unlike, 0.45": {"unlike": 0.45},
    "scatter unlike, 0.9": {"unlike": 0.9},
    "unlike 0.45, heavy tails (t, 4)": {"unlike": 0.45, "tail": 4},
    "unlike 0.45, seeds shared 0.25": {"unlike": 0.45, "shared": 0.25},
    "accuracies near 1, unlike 0.45": {"unlike": 0.45, "is_accuracy": True},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sweep", "n_cells", "n_seeds"),
    by_day(product(SWEEPS, (2, 3, 10), (2, 5)), [("scatter unlike, 0.45", 3, 2)]),
)
def test_differences_of_a_made_up_sweep_cover_92_to_98_times_in_100(sweep, n_cells, n_seeds):
    n_studies, random, held = 600, np.random.default_rng([0, n_cells, n_seeds]), []
    metric = "accuracy" if "is_accuracy" in SWEEPS[sweep] else "a metric"
    for _ in range(n_studies):
        values, truth = drawn(n_cells, n_seeds, random, **SWEEPS[sweep])
        means = CellMeans.of(values.tolist(), metric=metric, better="higher", n_examples=1000)
        held.append(means.difference(0, n_cells - 1).holds(float(truth[0] - truth[-1])))
    covered = np.mean(held)

    assert 0.92 - 2 * (0.92 * 0.08 / n_studies) ** 0.5 < covered
    assert covered < 0.98 + 2 * (0.98 * 0.02 / n_studies) ** 0.5


MARGIN = 1.0


def draws(*means, sd=0.2, n=4000):
    return np.array(means) + sd * np.random.default_rng(0).standard_normal((n, len(means)))


@pytest.mark.parametrize(
    ("means", "sd", "alike"),
    [
        ((5.0, 4.9, 2.0), 0.2, [1]),
        ((5.0, 4.9, 2.0), 3.0, [1, 2]),  # not surely worse
        ((5.0, 4.7), 0.01, [1]),  # surely within the margin
        ((5.0, 3.7), 0.01, []),
    ],
)
def test_as_good_is_what_is_not_surely_worse(means, sd, alike):
    assert as_good(draws(*means, sd=sd), MARGIN) == alike


def test_pairs_that_go_the_other_way_rise_and_one_of_many_alike_pairs_hardly_ever_does():
    """The bound allows for as many looks as there are pairs."""
    assert rises(draws(5.0, 3.0, 4.5, 2.0)) == [1]
    assert rises(draws(5.0, 3.0, 3.1, 2.0)) == []
    wrong = 0
    for seed in range(200):
        stream = np.random.default_rng(seed)
        seen = stream.standard_normal(10)
        wrong += bool(rises(seen + stream.standard_normal((2000, 10))))

    assert wrong <= 20


@pytest.mark.parametrize(
    ("statement", "means", "sd", "verdict"),
    [
        (falls, (5.0, 4.0, 2.0), 0.2, "held"),
        (falls, (5.0, 4.0, 4.8), 0.2, "did_not_hold"),  # by less than the margin
        (falls, (5.0, 4.0, 7.0), 0.2, "did_not_hold"),
        (falls, (5.0, 4.0, 3.0), 3.0, "cannot_tell"),
        (no_worse_than_any, (4.5, 5.0, 3.0), 0.1, "held"),
        (no_worse_than_any, (3.0, 5.0, 3.0), 0.1, "did_not_hold"),
        (no_worse_than_any, (4.5, 5.0, 5.0), 2.0, "cannot_tell"),
        (better_than_all, (5.0, 3.5, 3.0), 0.1, "held"),
        (better_than_all, (4.0, 5.0, 3.0), 0.1, "did_not_hold"),
        (better_than_all, (5.0, 4.9, 3.0), 0.1, "did_not_hold"),  # by less than the margin
        (better_than_all, (5.0, 4.9, 3.0), 1.0, "cannot_tell"),
    ],
)
def test_a_statement_about_the_first_cell_is_held_against_the_others(statement, means, sd, verdict):
    assert statement(draws(*means, sd=sd), MARGIN) == verdict
