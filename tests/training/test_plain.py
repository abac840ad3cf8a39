"""The plain trainer: whole runs, how they end, and that they end in the same numbers."""

import errno
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.reference.engine_run import (
    STEP_BY_STEP,
    EngineRun,
    assert_same_end,
    peek,
    run_engine,
)
from tests.reference.made_up import made_up_evaluation
from tests.reference.small_workloads import cross_entropy, points, small_trial, small_workload
from tests.reference.textbook_loop import steps_of, train_by_the_textbook
from torch import Tensor, nn

from batchlab.errors import StoreError, TrialError
from batchlab.records.batch_plan import BatchPlan
from batchlab.records.quantities import Better
from batchlab.records.run import RunLength
from batchlab.records.trial import Evaluation, Score, Status, Target, crossing_of
from batchlab.training import checkpoint
from batchlab.training.plain import divergence, stopped_early, training_loss
from batchlab.words.reasons import reason_text
from batchlab.workload.definition import Metric

EASY = Target(metric="loss", value=0.7, better="lower")
MET = Target(metric="accuracy", value=0.1, better="higher")  # before the first step


@pytest.mark.parametrize("batch_size", [1, 7, 40])
def test_a_run_ends_in_the_textbooks_weights_bit_for_bit(batch_size, tmp_path):
    """Its evaluations, of a model with dropout, have left no trace."""
    workload = small_workload(dropout=0.3)
    trial = small_trial(workload, batch_size=batch_size, seed=2)

    run = run_engine(workload, trial, RunLength(epochs=3), checkpoint=tmp_path / "c")

    textbook = train_by_the_textbook(workload, steps_of(trial, epochs=3), seed=2)
    assert run.outcome.status is Status.OK
    for name, parameter in textbook.model.named_parameters():
        assert torch.equal(run.tensors[f"model.{name}"], parameter)


@pytest.mark.parametrize(("length", "status"), [
    (RunLength(epochs=2), Status.OK), (RunLength(epochs=5, until=EASY), Status.TARGET_REACHED),
])  # fmt: skip
def test_what_its_last_evaluation_left_out_is_made_up_for_without_a_step(length, status, tmp_path):
    workload, path = small_workload(n=200, dropout=0.3), tmp_path / "c"
    trial = small_trial(workload, batch_size=4)
    at_end, never = (replace(length, all_splits=when) for when in ("at_end", "never"))
    at_once = run_engine(workload, trial, at_end, checkpoint=tmp_path / "at once")
    without = run_engine(workload, trial, never, checkpoint=path)

    run = run_engine(workload, trial, at_end, checkpoint=path)

    assert without.outcome.status is status
    assert run.evaluations == (*without.evaluations, at_once.evaluations[-1])
    assert peek(path).evaluations[-1].has_all_splits
    assert_same_end(replace(run, evaluations=at_once.evaluations), at_once)


@pytest.mark.parametrize(("length", "status"), [
    (RunLength(steps=89), Status.OK),  # past its end
    (RunLength(steps=1000, until=MET), Status.TARGET_REACHED),  # met before
])  # fmt: skip
def test_stopped_past_what_is_asked_it_ends_where_it_stands(length, status, tmp_path):
    workload, path = small_workload(n=40), tmp_path / "c"
    trial = small_trial(workload, batch_size=1)
    longer = RunLength(steps=1000, all_splits="never")
    given = {"checkpoint": path, "stop_after": 90, "rhythm": STEP_BY_STEP}
    stopped = run_engine(workload, trial, longer, **given)
    assert (stopped.evaluations[-1].step, peek(path).step) == (88, 90)

    run = run_engine(workload, trial, length, checkpoint=path)
    at_once = run_engine(workload, trial, RunLength(steps=90), checkpoint=tmp_path / "at once")

    by_step = {evaluation.step: evaluation for evaluation in run.evaluations}
    assert (run.outcome.status, max(by_step)) == (status, 90)
    assert by_step[88] == stopped.evaluations[-1]
    assert by_step[90].scores == at_once.evaluations[-1].scores


def test_an_augmentation_meets_each_training_micro_batch_once_and_no_others():
    sizes: list[int] = []
    seen: dict[bool, set[float]] = {True: set(), False: set()}

    def marked(batch: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        sizes.append(len(batch[0]))
        return torch.full_like(batch[0], 77.0), batch[1]

    def watch(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
        seen[torch.is_grad_enabled()].update(batch[0].flatten().tolist())
        return cross_entropy(model, batch)

    workload = small_workload(augment=marked, loss=watch)
    trial = small_trial(workload, batch_size=16, micro_batch_size=6)

    run_engine(workload, trial, RunLength(epochs=1))

    assert sizes == [6, 6, 4, 6, 6, 4, 6, 2]
    assert seen[True] == {77.0}
    assert 77.0 not in seen[False]


# ---- bad ends


@pytest.mark.parametrize(("split", "status"), [("validation", Status.NAN), ("test", Status.OK)])
def test_a_loss_that_is_not_finite_at_an_evaluation_ends_it_unless_on_test_data(split, status):
    def loss(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
        return torch.where(batch[0].amax() > 1e6, torch.nan, cross_entropy(model, batch))

    x, labels = points(20)
    far = {split: (torch.full_like(x, 1e7), labels)}
    workload = small_workload(loss=loss, **far)

    run = run_engine(workload, small_trial(workload, batch_size=10), RunLength(epochs=1))

    assert run.outcome.status is status
    text = "is not a finite number, and neither is it with the untrained weights"
    assert status is Status.OK or text in reason_text(run.outcome.reason)


def test_another_training_set_is_refused_and_an_error_of_the_users_raised_as_it_is():
    workload = small_workload(loss=lambda model, batch: 1 / 0)
    trial = small_trial(workload, batch_size=10)

    with pytest.raises(ZeroDivisionError, match="division by zero"):
        run_engine(workload, trial, RunLength(epochs=1))
    with pytest.raises(TrialError, match="has 50 training examples, but the trial was made for 40"):
        run_engine(small_workload(n=50), trial, RunLength(epochs=1))


def test_a_full_disk_ends_the_run_with_the_old_checkpoint_whole(tmp_path, monkeypatch):
    workload = small_workload()
    trial = small_trial(workload, batch_size=10)

    def run(n_epochs: int, name: str) -> EngineRun:
        return run_engine(workload, trial, RunLength(epochs=n_epochs), checkpoint=tmp_path / name)

    def full(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    run(1, "c")
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", full)
        with pytest.raises(StoreError, match="No space left on device"):
            run(3, "c")
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    assert peek(tmp_path / "c").step == 4
    assert_same_end(run(3, "c"), run(3, "whole"))


def evaluation(step: int, *, batch_loss: float | None = None, **values: Any) -> Evaluation:
    """One with a value for each `split_metric`."""
    named = [(name.split("_"), value) for name, value in values.items()]
    scores = tuple(Score(split=split, metric=of, value=value) for (split, of), value in named)
    made = made_up_evaluation(step, None, batch_size=8)
    return replace(made, batch_loss=batch_loss, scores=scores)


@pytest.mark.parametrize(("losses", "is_beyond_hope"), [
    *(((2.0, 21.0, 30.0, 40.0), True), ((2.0, 1.0, 1.0, 21.0, 21.0, 21.0), True)),
    *(((2.0, None, 21.0, None), True), ((2.0,), False), ((2.0, None, None, 1.0), False)),
    ((2.0, 21.0, 21.0), False),  # only twice
    ((2.0, 21.0, 19.0, 21.0, 21.0), False),  # not in a row
    ((2.0, 20.0, 20.0, 20.0), False),  # ten times is not above ten times
    ((None, 1.0, 1.0, 1.0), False),  # nothing to compare with
    ((-1.0, 100.0, 100.0, 100.0), False),  # a log density: ten times it means nothing
])  # fmt: skip
def test_three_in_a_row_ten_times_the_untrained_loss_are_beyond_hope(losses, is_beyond_hope):
    """Without validation the training batches tell."""
    validated = [
        evaluation(step, batch_loss=0.1, train_loss=0.1, validation_loss=loss)
        for step, loss in enumerate(losses)
    ]
    later = [evaluation(n, batch_loss=loss) for n, loss in enumerate(losses[1:], start=1)]
    unvalidated = [evaluation(0, train_loss=losses[0]), *later]

    assert (divergence(validated, training_loss) is not None) == is_beyond_hope
    assert None in losses or (divergence(unvalidated, training_loss) is not None) == is_beyond_hope


# ---- early ends


PLAN = BatchPlan(n_train=40, batch_size=8, drop_last=False)


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
def test_patience_is_the_usual_counter_at_epoch_ends(patience, better):
    metrics = {"f1": Metric(sum=cross_entropy, better=better)}
    workload = small_workload(metrics=metrics, patience_epochs=patience)

    def is_over(values: Sequence[float | None], *, every: int) -> bool:
        found = [evaluation(every * n, validation_f1=value) for n, value in enumerate(values)]
        return stopped_early(found, PLAN, workload) is not None

    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        values = torch.randint(4, (8,), generator=generator).float().tolist()
        for n in range(2, 9):
            assert is_over(values[:n], every=5) == naive(values[:n], better, patience)
            assert not is_over(values[:n], every=3)


def test_a_target_reached_ends_the_trial_where_it_has_held():
    """One met only at the last step does not: no evaluation after it could say whether it held."""
    workload = small_workload(n=200)
    trial = small_trial(workload, batch_size=4)
    whole = run_engine(workload, trial, RunLength(epochs=4)).evaluations
    for held_for in (0.0, 0.1, 0.5):
        target = replace(EASY, held_for=held_for)
        crossing = crossing_of(whole, target)
        assert crossing is not None

        run = run_engine(workload, trial, RunLength(epochs=4, until=target))

        assert run.outcome.status is Status.TARGET_REACHED
        assert run.evaluations[-1].step == crossing.held_until_step
        assert run.evaluations[:-1] == whole[: len(run.evaluations) - 1]
        assert crossing_of(run.evaluations, target) == crossing

        met_at = next(e for e in whole if e.step == crossing.step)
        target = replace(target, value=met_at.score("validation", "loss"))
        run = run_engine(workload, trial, RunLength(steps=met_at.step, until=target))
        assert run.outcome.status is Status.OK
