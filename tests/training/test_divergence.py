"""Divergence: beyond hope at three evaluations in a row, told from the losses alone."""

from __future__ import annotations

import pytest

from batchlab.records.trial import Evaluation, Score
from batchlab.training.plain import divergence
from batchlab.words.reasons import reason_text


def validated(*losses: float | None) -> list[Evaluation]:
    """Evaluations with these validation losses, one a step."""
    return [
        Evaluation(
            step=step,
            samples=step,
            train_s=0.0,
            eval_s=0.0,
            batch_loss=None if step == 0 else 0.1,
            scores=(
                Score(split="train", metric="loss", value=0.1),
                Score(split="validation", metric="loss", value=loss),
            ),
        )
        for step, loss in enumerate(losses)
    ]


def unvalidated(first: float, *batch_losses: float) -> list[Evaluation]:
    """Evaluations without a validation set: the untrained model's train loss, then batch losses."""
    scores = (Score(split="train", metric="loss", value=first),)
    return [
        Evaluation(
            step=step,
            samples=step,
            train_s=0.0,
            eval_s=0.0,
            batch_loss=loss,
            scores=scores if step == 0 else (),
        )
        for step, loss in enumerate([None, *batch_losses])
    ]


@pytest.mark.parametrize(
    "losses",
    [(2.0, 21.0, 30.0, 40.0), (2.0, 1.0, 1.0, 21.0, 21.0, 21.0), (2.0, None, 21.0, None)],
)
def test_three_in_a_row_ten_times_the_untrained_loss_are_beyond_hope(
    losses: tuple[float | None, ...],
) -> None:
    assert divergence(validated(*losses)) is not None


@pytest.mark.parametrize(
    "losses",
    [
        (2.0,),
        (2.0, 21.0, 21.0),  # only twice
        (2.0, 21.0, 21.0, 19.0),  # it came back
        (2.0, 21.0, 19.0, 21.0, 21.0),  # not in a row
        (2.0, 20.0, 20.0, 20.0),  # ten times is not above ten times
        (2.0, None, None, 1.0),
        (None, 1.0, 1.0, 1.0),  # nothing to compare with
        (-1.0, 100.0, 100.0, 100.0),  # a log density: ten times it means nothing
    ],
)
def test_anything_less_is_not(losses: tuple[float | None, ...]) -> None:
    assert divergence(validated(*losses)) is None


def test_the_reason_names_what_was_seen() -> None:
    reason = divergence(validated(2.0, 21.0, 31.04, None))

    assert reason is not None
    assert "21, 31, not finite, more than 10 times that of the untrained model, 2;" in reason_text(
        reason
    )


def test_without_validation_the_training_batches_tell() -> None:
    assert divergence(unvalidated(2.0, 21.0, 21.0, 21.0)) is not None
    assert divergence(unvalidated(2.0, 21.0, 21.0, 19.0)) is None
