"""Combined estimates: products keep their intervals, what is unknown stays unknown."""

import math

import numpy as np
import pytest

from batchlab.advice.decision import from_log_draws, product, scaled
from batchlab.records.estimate import Estimate, Reason

TEN = Estimate.of(10.0, interval=(8.0, 12.5), n=3)


def test_errors_of_a_product_add_as_squares_on_a_log_scale():
    both = product(TEN, Estimate.of(2.0, interval=(2 / 1.25, 2 * 1.25), n=9))

    half = math.hypot(math.log(1.25), math.log(1.25))
    assert both.estimate == 20.0
    assert both.low == pytest.approx(20 * math.exp(-half))
    assert both.high == pytest.approx(20 * math.exp(half))
    assert both.n == 3


def test_a_product_with_what_cannot_be_told_cannot_be_told():
    unknown = Estimate.cannot_tell(Reason.as_written("it was not run"))

    assert product(TEN, unknown).reason == product(unknown, TEN).reason == unknown.reason


def test_a_product_with_a_figure_without_bounds_has_none():
    both = product(TEN, Estimate.of(2.0, interval=(None, None), n=1))

    assert (both.estimate, both.low, both.high) == (20.0, None, None)


def test_a_known_factor_scales_the_interval():
    assert scaled(TEN, 2.0) == Estimate.of(20.0, interval=(16.0, 25.0), n=3)


def test_an_interval_from_draws_holds_95_of_100_of_them():
    draws = np.random.default_rng(0).normal(0.0, 0.1, 4000)

    found = from_log_draws(0.0, draws, 7)

    inside = np.mean((np.exp(draws) >= found.low) & (np.exp(draws) <= found.high))
    assert inside == pytest.approx(0.95, abs=0.001)
    assert (found.estimate, found.n) == (1.0, 7)
