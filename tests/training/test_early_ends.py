"""A run that ends early: beyond hope, or no better for so many epochs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.reference.engine_run import STEP_BY_STEP, run_engine
from tests.reference.small_workloads import small_trial, small_workload
from torch import Tensor, nn

from batchlab.records.batch_plan import BatchPlan
from batchlab.records.estimate import Reason
from batchlab.records.quantities import Better
from batchlab.records.run import RunLength
from batchlab.records.trial import Evaluation, Score, Status
from batchlab.training.plain import divergence, stopped_early


def evaluation(step: int, *scores: Score, batch_loss: float | None = None) -> Evaluation:
    return Evaluation(
        step=step,
        samples=8 * step,
        train_s=0.0,
        eval_s=0.0,
        batch_loss=batch_loss,
        scores=scores,
        measured=(),
    )


def validated(*losses: float | None) -> list[Evaluation]:
    """Evaluations with these validation losses, one a step."""
    train = Score(split="train", metric="loss", value=0.1)
    return [
        evaluation(
            step,
            train,
            Score(split="validation", metric="loss", value=loss),
            batch_loss=None if step == 0 else 0.1,
        )
        for step, loss in enumerate(losses)
    ]


def unvalidated(first: float, *batch_losses: float) -> list[Evaluation]:
    """Evaluations without a validation set: the untrained model's train loss, then batch losses."""
    untrained = evaluation(0, Score(split="train", metric="loss", value=first))
    later = [evaluation(n, batch_loss=loss) for n, loss in enumerate(batch_losses, start=1)]
    return [untrained, *later]


@pytest.mark.parametrize(
    ("losses", "is_beyond_hope"),
    [
        ((2.0, 21.0, 30.0, 40.0), True),
        ((2.0, 1.0, 1.0, 21.0, 21.0, 21.0), True),
        ((2.0, None, 21.0, None), True),
        ((2.0,), False),
        ((2.0, 21.0, 21.0), False),  # only twice
        ((2.0, 21.0, 19.0, 21.0, 21.0), False),  # not in a row
        ((2.0, 20.0, 20.0, 20.0), False),  # ten times is not above ten times
        ((2.0, None, None, 1.0), False),
        ((None, 1.0, 1.0, 1.0), False),  # nothing to compare with
        ((-1.0, 100.0, 100.0, 100.0), False),  # a log density: ten times it means nothing
    ],
)
def test_three_in_a_row_ten_times_the_untrained_loss_are_beyond_hope(
    losses: tuple[float | None, ...], is_beyond_hope: bool
) -> None:
    assert (divergence(validated(*losses)) is not None) == is_beyond_hope


def test_without_validation_the_training_batches_tell() -> None:
    assert divergence(unvalidated(2.0, 21.0, 21.0, 21.0)) is not None
    assert divergence(unvalidated(2.0, 21.0, 21.0, 19.0)) is None


PLAN = BatchPlan(n_train=40, batch_size=8, drop_last=False)


def evaluations(values: list[float | None], *, every: int = 5) -> list[Evaluation]:
    """The metric `f1` after 0, 5, 10, ... steps: at epoch ends."""
    return [
        evaluation(every * index, Score(split="validation", metric="f1", value=value))
        for index, value in enumerate(values)
    ]


def naive(values: list[float | None], better: Better, patience: int) -> bool:
    """As everybody writes it: a counter that a better value sets back."""
    best, waited = None, 0
    for value in values[1:]:
        improved = value is not None and (
            best is None or (value > best if better == "higher" else value < best)
        )
        best, waited = (value, 0) if improved else (best, waited + 1)
    return best is not None and waited >= patience


@pytest.mark.parametrize("better", ["higher", "lower"])
@pytest.mark.parametrize("patience", [1, 2, 3])
@pytest.mark.parametrize("seed", range(10))
def test_it_is_the_usual_counter(seed: int, patience: int, better: Better) -> None:
    generator = torch.Generator().manual_seed(seed)
    values: list[float | None] = torch.randint(4, (8,), generator=generator).float().tolist()
    for n in range(2, 9):
        found = stopped_early(
            evaluations(values[:n]), PLAN, metric="f1", better=better, patience_epochs=patience
        )

        assert (found is not None) == naive(values[:n], better, patience)


def test_only_epoch_ends_count() -> None:
    found = evaluations([0.0, 0.5, 0.4, 0.3, 0.2], every=3)

    assert stopped_early(found, PLAN, metric="f1", better="higher", patience_epochs=1) is None


def always(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    return torch.tensor(0.5)


def test_a_run_ends_well_with_all_splits_and_a_note_and_ends_there_too_if_taken_up_again(
    tmp_path: Path,
) -> None:
    workload = replace(small_workload(), metrics={"accuracy": always}, patience_epochs=2)
    trial, kept = small_trial(workload, batch_size=8), tmp_path / "kept"
    length = RunLength(epochs=20, all_splits="at_end")
    whole = run_engine(workload, trial, length)
    run_engine(workload, trial, length, checkpoint=kept, rhythm=STEP_BY_STEP, stop_after=7)

    again = run_engine(workload, trial, length, checkpoint=kept)
    once_more = run_engine(workload, trial, replace(length, epochs=30), checkpoint=kept)

    assert whole.outcome.status is Status.OK
    (note,) = whole.outcome.notes
    assert note == Reason.of("stopped_early", epochs=3, best=1, metric="accuracy")
    assert whole.evaluations[-1].step == 15  # the first epoch's is the best, two more are waited
    assert whole.evaluations[-1].has_all_splits
    assert again.evaluations == whole.evaluations
    assert once_more.evaluations == (*whole.evaluations[:-2], whole.evaluations[-1])
    assert once_more.outcome == whole.outcome
