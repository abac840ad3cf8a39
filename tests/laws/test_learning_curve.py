"""Weighted learning curves against the noiseless law that made the values."""

import numpy as np
import pytest

from batchlab.laws.plateau import MAX_CURVES, fit_learning_curves


def rising(law, *, n=40, noise=0.001, seed=0):
    epochs = np.arange(1.0, n + 1)
    return epochs, law(epochs) + np.random.default_rng(seed).normal(0.0, noise, n)


def mean_of(curves, values):
    return float(curves.weight @ values)


@pytest.mark.parametrize("rate", [0.03, 0.15, 0.6])
def test_the_rate_of_an_exponential_is_found(rate):
    curves = fit_learning_curves(
        *rising(lambda t: 0.95 - 0.5 * np.exp(-rate * t)), resolution=0.002
    )

    exponential = curves.shapes.exponential
    assert curves.weight[exponential].sum() > 0.9
    found = mean_of(curves, np.where(exponential, curves.shapes.rate, rate))
    assert found == pytest.approx(rate, rel=0.05)


def test_a_power_law_is_not_taken_for_an_exponential():
    curves = fit_learning_curves(*rising(lambda t: 0.95 - 0.5 * t**-0.7), resolution=0.002)

    assert curves.weight[curves.shapes.exponential].sum() < 0.01


def test_the_rise_still_ahead_is_the_laws_own():
    law = lambda t: 0.95 - 0.5 * np.exp(-0.05 * t)  # noqa: E731
    curves = fit_learning_curves(*rising(law), resolution=0.002)

    ahead = mean_of(curves, np.mean(curves.rise, axis=1) * curves.left(np.array([40.0]))[:, 0])

    assert ahead == pytest.approx(0.5 * np.exp(-0.05 * 40), rel=0.05)


def test_weights_add_up_to_one_and_curves_are_few():
    flat = fit_learning_curves(*rising(lambda t: 0.9 + 0 * t), resolution=0.002)

    assert flat.weight.sum() == pytest.approx(1.0)
    assert len(flat.weight) == len(flat.rise) <= MAX_CURVES


def spread_ahead(curves, epoch):
    """Standard deviation, over curves, of what is still ahead at an epoch."""
    ahead = curves.rise * curves.left(np.array([epoch]))
    weight = np.repeat(curves.weight[:, None] / ahead.shape[1], ahead.shape[1], axis=1)
    mean = (weight * ahead).sum()
    return float(((weight * (ahead - mean) ** 2).sum()) ** 0.5)


def test_first_epochs_that_follow_no_law_cost_no_more_than_themselves():
    law = lambda t: 0.95 - 0.1 * np.exp(-0.08 * t)  # noqa: E731
    epochs, values = rising(law)
    clean = fit_learning_curves(epochs, values, resolution=0.002)
    values[:2] -= [0.6, 0.3]

    bent = fit_learning_curves(epochs, values, resolution=0.002)

    widths = [mean_of(curves, np.ptp(curves.rise, axis=1)) for curves in (clean, bent)]
    assert widths[1] < 5 * widths[0]
    assert spread_ahead(bent, 20.0) < 2 * spread_ahead(clean, 20.0)


def test_the_uncertainty_of_a_rise_grows_with_the_noise():
    law = lambda t: 0.95 - 0.5 * np.exp(-0.1 * t)  # noqa: E731
    quiet, loud = (
        fit_learning_curves(*rising(law, noise=noise), resolution=0.002) for noise in (0.001, 0.004)
    )

    widths = [mean_of(curves, np.ptp(curves.rise, axis=1)) for curves in (quiet, loud)]

    assert 2.5 < widths[1] / widths[0] < 6


def test_a_long_curve_is_averaged_in_blocks():
    epochs, values = rising(lambda t: 0.9 + 0 * t, n=10_000, noise=0.01)
    swapped = values.copy()
    swapped[[3, 7]] = values[[7, 3]]  # both in the first block of 50

    one, two = (fit_learning_curves(epochs, y, resolution=0.002) for y in (values, swapped))

    assert one.weight == pytest.approx(two.weight)
    assert one.rise == pytest.approx(two.rise)


def test_two_fits_of_the_same_values_are_the_same():
    epochs, values = rising(lambda t: 0.9 + 0 * t)

    one, two = (fit_learning_curves(epochs, values, resolution=0.002) for _ in range(2))

    assert np.array_equal(one.rise, two.rise)
    assert np.array_equal(one.weight, two.weight)
