"""Whether a metric goes up or down, by its name; what nobody can know is not guessed."""

from __future__ import annotations

import pytest

from batchlab.script.metric import direction_of


@pytest.mark.parametrize(
    ("metric", "better"),
    [
        ("val_loss", "lower"),
        ("eval_loss", "lower"),
        ("eval/perplexity", "lower"),
        ("validation_top1", "higher"),
        ("val_accuracy", "higher"),
        ("eval_macro_f1", "higher"),
        ("val_mse", "lower"),
        ("ROUGE", "higher"),
        ("score", None),
        ("val_margin", None),
        ("lossless", None),
    ],
)
def test_the_direction_is_that_of_the_name(metric: str, better: str | None) -> None:
    assert direction_of(metric) == better
