"""The scale of a metric: by its name, direction and values."""

import numpy as np
import pytest

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
def test_a_place_leads_back_to_its_value(scale, value):
    assert scale.values(np.array([scale.place(value)]))[0] == pytest.approx(value)


def test_scatter_of_a_share_is_that_of_its_log_odds_and_at_least_what_rounding_hides():
    assert SHARE.variance([0.90, 0.902, 0.898]) == pytest.approx(4e-6 / (0.9 * 0.1) ** 2)
    assert SHARE.variance([0.5, 0.5]) == pytest.approx((1 / 1000) ** 2 / 12 / 0.25**2)
    assert 0 < MetricScale(kind="plain").variance([0.5, 0.5]) < 1e-14


@pytest.mark.parametrize("scale", [SHARE, MetricScale(kind="loss")])
def test_no_place_is_worth_more_than_a_number(scale):
    values = scale.values(np.array([-1e6, 1e6]))

    assert np.isfinite(values).all()
    assert (values >= 0).all()
