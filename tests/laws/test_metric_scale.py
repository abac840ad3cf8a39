"""The scale of a metric: log odds between 0 and 1, the metric itself elsewhere."""

import math

import pytest

from batchlab.laws.scatter import MetricScale

SHARE = MetricScale(n_examples=1000)
PLAIN = MetricScale(n_examples=None)


@pytest.mark.parametrize(
    ("metric", "values", "n_examples"),
    [
        ("accuracy", [0.0, 1.0], 1000),
        ("error", [0.1], 1000),
        ("accuracy", [97.0, 98.5], None),  # percent
        ("loss", [0.3], None),
        ("r2", [-0.4, 0.7], None),
    ],
)
def test_a_share_is_told_by_its_name_and_its_values(metric, values, n_examples):
    assert MetricScale.of(metric, values, n_examples=1000).n_examples == n_examples


def test_scatter_of_a_share_is_that_of_its_log_odds():
    values = [0.90, 0.902, 0.898]

    found = SHARE.own_scatter(values)

    assert found.variance == pytest.approx(4e-6 / (0.9 * 0.1) ** 2)
    assert found.n == 3


def test_scatter_of_any_other_metric_is_its_own():
    assert PLAIN.own_scatter([1.0, 3.0]).variance == pytest.approx(2.0)


def test_seeds_that_agree_scatter_by_what_rounding_hides():
    share, plain = SHARE.own_scatter([0.5, 0.5]), PLAIN.own_scatter([0.5, 0.5])

    assert share.variance == pytest.approx((1 / 1000) ** 2 / 12 / 0.25**2)
    assert 0 < plain.variance < 1e-14


def test_the_interval_of_a_share_is_the_closed_form_around_one_half():
    low, high = SHARE.mean_bounds(0.5, 1.0)

    assert high == pytest.approx(1 / (1 + math.exp(-1.0)))
    assert low == pytest.approx(1 - high)


@pytest.mark.parametrize("level", [0.0, 0.01, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("half", [0.01, 1.0, 50.0])
def test_no_bound_of_a_share_leaves_its_range_and_each_interval_holds_its_estimate(level, half):
    low, high = SHARE.mean_bounds(level, half)

    assert 0 <= low <= level <= high <= 1


def test_bounds_on_the_plain_scale_are_the_sum():
    assert PLAIN.mean_bounds(-0.5, 2.0) == (-2.5, 1.5)
