"""EarlyStopping: a run ends when its metric has not improved for so many epochs, and once only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.reference.engine_run import STEP_BY_STEP, run_engine
from tests.reference.small_workloads import small_trial, small_workload
from torch import Tensor, nn

from batchlab.records.batch_plan import BatchPlan
from batchlab.records.quantities import Better
from batchlab.records.run import RunLength
from batchlab.records.trial import Evaluation, Score, Status
from batchlab.training.plain import stopped_early

PLAN = BatchPlan(n_train=40, batch_size=8, drop_last=False)


def evaluations(values: list[float | None], *, every: int = 5) -> list[Evaluation]:
    """The metric `f1` after 0, 5, 10, ... steps: at epoch ends."""
    return [
        Evaluation(
            step=every * index,
            samples=8 * every * index,
            train_s=0.0,
            eval_s=0.0,
            batch_loss=None,
            scores=(Score(split="validation", metric="f1", value=value),),
            measured=(),
        )
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


def test_the_note_says_how_far_it_went_and_what_was_best() -> None:
    found = stopped_early(
        evaluations([0.9, 0.5, 0.7, 0.6, 0.7]), PLAN, metric="f1", better="higher",
        patience_epochs=2,
    )  # fmt: skip

    assert found is not None
    assert (found.code, dict(found.values)) == (
        "stopped_early", {"epochs": 4, "best": 2, "metric": "f1"}
    )  # fmt: skip


def always(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    return torch.tensor(0.5)


class TestRun:
    def test_it_ends_well_with_all_splits_and_a_note(self, tmp_path: Path) -> None:
        workload = replace(small_workload(), metrics={"accuracy": always}, patience_epochs=2)
        trial = small_trial(workload, batch_size=8)

        run = run_engine(
            workload,
            trial,
            RunLength(epochs=20, all_splits="at_end"),
            checkpoint=tmp_path / "kept",
        )

        assert run.outcome.status is Status.OK
        assert [note.code for note in run.outcome.notes] == ["stopped_early"]
        assert run.evaluations[-1].step == 15  # the first epoch's is the best, two more are waited
        assert run.evaluations[-1].has_all_splits

    def test_a_run_taken_up_again_ends_there_too(self, tmp_path: Path) -> None:
        workload = replace(small_workload(), metrics={"accuracy": always}, patience_epochs=2)
        trial, length = small_trial(workload, batch_size=8), RunLength(epochs=20)
        kept = tmp_path / "kept"
        whole = run_engine(workload, trial, length)
        run_engine(workload, trial, length, checkpoint=kept, rhythm=STEP_BY_STEP, stop_after=7)

        again = run_engine(workload, trial, length, checkpoint=kept)
        once_more = run_engine(workload, trial, RunLength(epochs=30), checkpoint=kept)

        assert again.evaluations == whole.evaluations
        assert once_more.evaluations == whole.evaluations
        assert once_more.outcome == whole.outcome
