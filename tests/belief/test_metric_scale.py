"""The scale of a metric, and its margin: one meaning for every metric and unit."""

import numpy as np
import pytest

from batchlab.belief.margin import margin_of
from batchlab.belief.metric_scale import MetricScale

SHARE = MetricScale(kind="share", n_examples=1000)


@pytest.mark.parametrize(
    ("metric", "better", "values", "kind", "whole"),
    [
        ("accuracy", "higher", [0.0, 1.0], "share", 1),
        ("error", "lower", [0.1], "share", 1),
        ("accuracy", "higher", [97.0, 98.5], "share", 100),
        ("balanced accuracy", "higher", [0.4, 0.7], "share", 1),
        ("loss", "lower", [0.3], "loss", 1),
        ("loss", "lower", [0.3, -0.1], "plain", 1),
        ("r2", "higher", [-0.4, 0.7], "plain", 1),
        ("reward", "higher", [-200.0, 30.0], "plain", 1),
    ],
)
def test_a_scale_follows_name_direction_and_values(metric, better, values, kind, whole):
    scale = MetricScale.of(metric, values, better=better, n_examples=1000)

    assert (scale.kind, scale.whole) == (kind, whole)


@pytest.mark.parametrize(
    ("scale", "value"),
    [
        (SHARE, 0.97),
        (MetricScale(kind="share", whole=100.0), 97.0),
        (MetricScale(kind="loss"), 0.3),
        (MetricScale(kind="plain"), -3.0),
    ],
)
def test_a_place_leads_back_to_its_value_and_none_is_worth_more_than_a_number(scale, value):
    found = scale.values(np.array([scale.place(value), 1e6, -1e6]))

    assert found[0] == pytest.approx(value)
    assert np.isfinite(found).all()
    assert scale.kind == "plain" or (found >= 0).all()


def test_scatter_of_a_share_is_that_of_its_log_odds_and_at_least_what_rounding_hides():
    assert SHARE.variance([0.90, 0.902, 0.898]) == pytest.approx(4e-6 / (0.9 * 0.1) ** 2)
    assert SHARE.variance([0.5, 0.5]) == pytest.approx((1 / 1000) ** 2 / 12 / 0.25**2)
    assert 0 < MetricScale(kind="plain").variance([0.5, 0.5]) < 1e-14


@pytest.mark.parametrize(
    ("metric", "value", "untrained", "n_examples", "margin"),
    [
        ("accuracy", 0.60, 0.1, None, 0.02),  # these three are the same model
        ("accuracy", 60.0, 10.0, None, 2),
        ("error", 0.40, 0.9, None, 0.02),
        ("mse", 0.20, 1.0, None, 0.01),  # and so are these two
        ("r2", 0.80, 0.0, None, 0.01),
        ("accuracy", 0.952, 0.95, None, 0.0001),  # near the untrained model little is no worse
        ("accuracy", 0.995, None, 500, 1 / 500),  # of a share it is at least an example
        ("accuracy", 99.5, None, 500, 100 / 500),
        ("accuracy", 1.0, 0.1, 1000, 1 / 1000),  # nothing is left to learn
        ("accuracy", 100.0, 10.0, 1000, 100 / 1000),
        ("error", 0.0, 0.9, 1000, 1 / 1000),
        ("error", 0.0, 90.0, 1000, 100 / 1000),
        ("error", 0.5, 90.0, 1000, 100 / 1000),  # in percent, as the untrained model has more
        ("reward", 200.0, 20.0, None, 9),  # without bounds, of what was learned
        ("reward", 200.0, None, None, 10),
        ("mse", -5.0, -5.0, None, 0.25),
        ("mse", 0.0, 0.0, None, 0.05),  # never 0
    ],
)
def test_the_margin_is_a_part_of_what_was_learned_or_one_example_in_any_unit(
    metric, value, untrained, n_examples, margin
):
    of = {"metric": metric, "better": "lower" if metric in ("error", "mse") else "higher"}

    found = margin_of(value, untrained=untrained, n_examples=n_examples, **of)

    assert found == pytest.approx(margin)
