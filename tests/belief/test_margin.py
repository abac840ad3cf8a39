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


@pytest.mark.parametrize(
    ("metric", "value", "untrained", "n_examples", "margin"),
    [
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
    ],
)
def test_the_margin_is_a_part_of_what_was_learned_or_one_example(
    metric, value, untrained, n_examples, margin
):
    better = "lower" if metric == "error" else "higher"

    found = margin_of(
        value, metric=metric, better=better, untrained=untrained, n_examples=n_examples
    )

    assert found == pytest.approx(margin)


@pytest.mark.parametrize("value", [0.0, 1.0, -5.0])
@pytest.mark.parametrize("better", ["higher", "lower"])
def test_the_margin_is_never_0(value, better):
    assert margin_of(value, metric="score", better=better, untrained=value) > 0
