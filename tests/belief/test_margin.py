"""The margin: one meaning for every metric and unit."""

import pytest

from batchlab.belief.margin import margin_of


def test_accuracy_percent_and_error_have_the_same_margin():
    accuracy = margin_of(0.60, metric="accuracy", better="higher", untrained=0.1)
    percent = margin_of(60.0, metric="accuracy", better="higher", untrained=10.0)
    error = margin_of(0.40, metric="error", better="lower", untrained=0.9)

    assert accuracy == pytest.approx(0.02)
    assert percent == pytest.approx(100 * accuracy)
    assert error == pytest.approx(accuracy)


def test_mse_and_r2_of_one_model_have_the_same_margin():
    mse = margin_of(0.20, metric="mse", better="lower", untrained=1.0)
    r2 = margin_of(0.80, metric="r2", better="higher", untrained=0.0)

    assert mse == pytest.approx(0.01)
    assert r2 == pytest.approx(mse)


def test_near_the_untrained_model_little_is_no_worse():
    assert margin_of(0.952, metric="accuracy", better="higher", untrained=0.95) == pytest.approx(
        0.0001
    )


def test_the_margin_of_a_share_is_at_least_an_example():
    assert margin_of(0.995, metric="accuracy", better="higher", n_examples=500) == 1 / 500
    assert margin_of(99.5, metric="accuracy", better="higher", n_examples=500) == 100 / 500


@pytest.mark.parametrize(("metric", "better"), [("accuracy", "higher"), ("error", "lower")])
def test_where_nothing_is_left_to_learn_the_margin_is_an_example(metric, better):
    best, untrained = (1.0, 0.1) if better == "higher" else (0.0, 0.9)
    kinds = {"metric": metric, "better": better, "n_examples": 1000}

    assert margin_of(best, untrained=untrained, **kinds) == 1 / 1000
    assert margin_of(100 * best, untrained=100 * untrained, **kinds) == 100 / 1000


def test_an_error_below_one_percent_is_percent_if_the_untrained_model_has_more():
    margin = margin_of(0.5, metric="error", better="lower", untrained=90.0, n_examples=1000)

    assert margin == 100 / 1000


def test_a_reward_without_bounds_is_held_against_what_was_learned():
    assert margin_of(200.0, metric="reward", better="higher", untrained=20.0) == pytest.approx(9)
    assert margin_of(200.0, metric="reward", better="higher") == pytest.approx(10)


@pytest.mark.parametrize("value", [0.0, 1.0, -5.0])
@pytest.mark.parametrize("better", ["higher", "lower"])
def test_the_margin_is_never_0(value, better):
    assert margin_of(value, metric="score", better=better, untrained=value) > 0
