"""The margin: one meaning for every metric and unit."""

import pytest

from batchlab.belief.margin import margin_of


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
    ],
)
def test_the_margin_is_a_part_of_what_was_learned_or_one_example_in_any_unit(
    metric, value, untrained, n_examples, margin
):
    of = {"metric": metric, "better": "lower" if metric in ("error", "mse") else "higher"}

    found = margin_of(value, untrained=untrained, n_examples=n_examples, **of)

    assert found == pytest.approx(margin)


@pytest.mark.parametrize("value", [0.0, 1.0, -5.0])
@pytest.mark.parametrize("better", ["higher", "lower"])
def test_the_margin_is_never_0(value, better):
    assert margin_of(value, metric="score", better=better, untrained=value) > 0
