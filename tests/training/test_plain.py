"""The plain engine: whole runs, however they are cut, end in the same numbers."""

from __future__ import annotations

import errno
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.reference.engine_run import STEP_BY_STEP, StopAfter, assert_same_end, peek, run_engine
from tests.reference.small_workloads import (
    cross_entropy,
    everything_workload,
    points,
    small_trial,
    small_workload,
)
from tests.reference.textbook_loop import steps_of, train_by_the_textbook
from torch import Tensor, nn

from batchlab.errors import StoreError, TrialError
from batchlab.plans.cadence import pauses
from batchlab.records.run import RunLength
from batchlab.records.trial import Evaluation, Status, Target, Trial, crossing_of
from batchlab.training import checkpoint
from batchlab.training.plain import Task, train
from batchlab.words.reasons import reason_text
from batchlab.workload.definition import Workload

EASY = Target(metric="loss", value=0.7, better="lower")
MET = Target(metric="accuracy", value=0.1, better="higher")  # before the first step

# The engine then asks before every single step whether to stop.
run_step_by_step = partial(run_engine, rhythm=STEP_BY_STEP)


def everything_trial(workload: Workload, **changes: Any) -> Trial:
    given = {"batch_size": 6, "learning_rate": 0.02, "horizon_steps": 28, "seed": 4}
    return small_trial(workload, **{**given, **changes})


class TestTextbook:
    @pytest.mark.parametrize("batch_size", [1, 7, 40])
    def test_a_run_ends_in_the_textbooks_weights_bit_for_bit(
        self, batch_size: int, tmp_path: Path
    ) -> None:
        """Its evaluations, of a model with dropout, have left no trace."""
        workload = small_workload(dropout=0.3)
        trial = small_trial(workload, batch_size=batch_size, seed=2)

        run = run_engine(workload, trial, RunLength(epochs=3), checkpoint=tmp_path / "c")

        textbook = train_by_the_textbook(workload, steps_of(trial, epochs=3), seed=2)
        assert run.outcome.status is Status.OK
        for name, parameter in textbook.model.named_parameters():
            assert torch.equal(run.parameters()[name], parameter)

    def test_the_batch_loss_is_the_mean_over_the_examples_since_the_evaluation_before(self) -> None:
        workload = small_workload(dtype=torch.float64)
        trial = small_trial(workload, batch_size=3, learning_rate=1e-30)

        run = run_engine(workload, trial, RunLength(epochs=4))

        order = list(chain.from_iterable(steps_of(trial, epochs=4)))
        torch.manual_seed(0)
        model = workload.model()
        x, labels = workload.train
        for before, after in pairwise(run.evaluations):
            seen = order[before.samples : after.samples]
            expected = cross_entropy(model, (x[seen], labels[seen])).item()
            assert after.batch_loss == pytest.approx(expected, rel=1e-12)

    def test_evaluations_come_at_the_cadence_and_all_splits_at_epoch_ends(self) -> None:
        workload = small_workload()
        trial = small_trial(workload, batch_size=3)

        run = run_engine(workload, trial, RunLength(epochs=3))

        expected = [(0, True)] + [
            (pause.step, pause.all_splits) for pause in pauses(trial.plan, last_step=42)
        ]
        found = [
            (evaluation.step, {score.split for score in evaluation.scores})
            for evaluation in run.evaluations
        ]
        assert found == [
            (step, {"train", "validation", "test"} if all_splits else {"validation"})
            for step, all_splits in expected
        ]

    @pytest.mark.parametrize(
        ("length", "status"),
        [
            (RunLength(epochs=3), Status.OK),
            (RunLength(epochs=5, until=EASY), Status.TARGET_REACHED),
        ],
    )
    def test_what_its_last_evaluation_left_out_is_made_up_for_without_a_step(
        self, length: RunLength, status: Status, tmp_path: Path
    ) -> None:
        workload, path = small_workload(n=200, dropout=0.3), tmp_path / "c"
        trial = small_trial(workload, batch_size=4)
        at_end, never = (replace(length, all_splits=when) for when in ("at_end", "never"))
        at_once = run_engine(workload, trial, at_end, checkpoint=tmp_path / "at once")
        without = run_engine(workload, trial, never, checkpoint=path)

        run = run_engine(workload, trial, at_end, checkpoint=path)

        assert run.outcome.status is without.outcome.status is at_once.outcome.status is status
        assert run.evaluations == (*without.evaluations, at_once.evaluations[-1])
        assert peek(path).evaluations[-1].has_all_splits
        assert run.tensors.keys() == at_once.tensors.keys()
        assert all(torch.equal(run.tensors[name], at_once.tensors[name]) for name in run.tensors)

    @pytest.mark.parametrize(
        ("length", "status"),
        [
            pytest.param(RunLength(steps=89), Status.OK, id="past its end"),
            pytest.param(RunLength(steps=1000, until=MET), Status.TARGET_REACHED, id="met before"),
        ],
    )
    def test_stopped_between_evaluations_past_what_is_asked_its_end_is_where_it_stands(
        self, length: RunLength, status: Status, tmp_path: Path
    ) -> None:
        workload, path = small_workload(n=40), tmp_path / "c"
        trial = small_trial(workload, batch_size=1)
        longer = RunLength(steps=1000, all_splits="never")
        stopped = run_step_by_step(workload, trial, longer, checkpoint=path, stop_after=90)
        assert (stopped.evaluations[-1].step, peek(path).step) == (88, 90)

        run = run_engine(workload, trial, length, checkpoint=path)
        at_once = run_engine(workload, trial, RunLength(steps=90), checkpoint=tmp_path / "at once")

        seen = {each.step: each for each in run.evaluations}
        assert (run.outcome.status, max(seen)) == (status, 90)
        assert seen[88] == stopped.evaluations[-1]
        assert seen[90].scores == at_once.evaluations[-1].scores

    def test_what_is_measured_is_finite_and_of_the_initial_weights_what_is_known(self) -> None:
        evaluations: list[Evaluation] = []
        workload = small_workload()
        task = Task(
            trial=small_trial(workload, batch_size=4),
            length=RunLength(epochs=1),
            device="cpu",
            threads=1,
            checkpoint=None,
            resume=False,
            versions=(),
        )

        train(
            workload,
            task,
            measures={"one": lambda model: 1.0, "lost": lambda model: math.inf},
            emit=evaluations.extend,
            stop=StopAfter(None),
        )

        assert evaluations[0].measured == (("one", 1.0),)
        assert {each.measured for each in evaluations[1:]} == {(("one", 1.0), ("lost", None))}


class TestStopAndGoOn:
    """Dropout, BatchNorm, Adam, tied weights, a buffer in no state dict, a rate's shape, noise."""

    def test_with_an_interval_it_is_evaluated_less_and_trained_the_same(
        self, tmp_path: Path
    ) -> None:
        workload = everything_workload()
        trial = everything_trial(workload)
        always = run_step_by_step(
            workload, trial, RunLength(epochs=4), checkpoint=tmp_path / "always"
        )
        length = RunLength(epochs=4, interval_samples=trial.n_train // 2)
        seldom = run_step_by_step(workload, trial, length, checkpoint=tmp_path / "seldom")

        scores = {e.step: e.scores for e in always.evaluations}
        assert 5 <= len(seldom.evaluations) < len(always.evaluations)
        assert all(scores[e.step] == e.scores for e in seldom.evaluations)


class TestAugmentation:
    def test_it_changes_training_batches_and_no_others(self) -> None:
        seen: dict[bool, set[float]] = {True: set(), False: set()}

        def marked(batch: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
            return torch.full_like(batch[0], 77.0), batch[1]

        def watch(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
            seen[torch.is_grad_enabled()].update(batch[0].flatten().tolist())
            return cross_entropy(model, batch)

        workload = replace(small_workload(), augment=marked, loss=watch)

        run_engine(workload, small_trial(workload, batch_size=8), RunLength(epochs=2))

        assert seen[True] == {77.0}
        assert 77.0 not in seen[False]


def broken_at(step: int, value: float) -> Callable[[nn.Module, Sequence[Tensor]], Tensor]:
    """A loss that is `value` at one training step (counted from 1), and fine at evaluations."""
    n_steps = 0

    def loss(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
        nonlocal n_steps
        plain_loss = cross_entropy(model, batch)
        if torch.is_grad_enabled():
            n_steps += 1
            if n_steps == step:
                return plain_loss + value
        return plain_loss

    return loss


class TestBadEnds:
    def test_losses_too_large_to_add_up_are_no_number_in_a_record(self) -> None:
        """In float64 a diverging loss can be finite where its sum over a batch is not."""
        workload = replace(small_workload(dtype=torch.float64), loss=broken_at(2, 1e308))
        trial = small_trial(workload, batch_size=20)

        run = run_engine(workload, trial, RunLength(epochs=3))

        assert run.outcome.status is Status.DIVERGED
        assert all(
            evaluation.batch_loss is None or np.isfinite(evaluation.batch_loss)
            for evaluation in run.evaluations
        )

    @pytest.mark.parametrize(("split", "status"), [("validation", Status.NAN), ("test", Status.OK)])
    def test_a_loss_that_is_not_finite_at_an_evaluation_ends_it_unless_on_test_data(
        self, split: str, status: Status
    ) -> None:
        def loss(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
            return torch.where(batch[0].amax() > 1e6, torch.nan, cross_entropy(model, batch))

        x, labels = points(20)
        workload = replace(
            small_workload(), loss=loss, **{split: (torch.full_like(x, 1e7), labels)}
        )

        run = run_engine(workload, small_trial(workload, batch_size=10), RunLength(epochs=1))

        assert run.outcome.status is status
        told = "is not a finite number, nor is it with the untrained weights"
        assert status is Status.OK or told in reason_text(run.outcome.reason)

    def test_an_error_of_the_users_own_code_is_raised_as_it_is(self) -> None:
        def broken(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
            raise ZeroDivisionError("mine")

        workload = replace(small_workload(), loss=broken)

        with pytest.raises(ZeroDivisionError, match="mine"):
            run_engine(workload, small_trial(workload, batch_size=10), RunLength(epochs=1))

    def test_a_full_disk_ends_the_run_with_the_old_checkpoint_whole(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        workload = small_workload()
        trial = small_trial(workload, batch_size=10)
        run_engine(workload, trial, RunLength(epochs=1), checkpoint=tmp_path / "c")
        whole = run_engine(workload, trial, RunLength(epochs=3), checkpoint=tmp_path / "whole")

        def full(tensors: object, path: Path, metadata: object) -> None:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, "save_file", full)
            with pytest.raises(StoreError, match="No space left on device"):
                run_engine(workload, trial, RunLength(epochs=3), checkpoint=tmp_path / "c")

        assert sorted(each.name for each in tmp_path.iterdir()) == ["c", "whole"]
        assert peek(tmp_path / "c").step == 4
        again = run_engine(workload, trial, RunLength(epochs=3), checkpoint=tmp_path / "c")
        assert_same_end(again, whole)


class TestTarget:
    @pytest.mark.parametrize("held_for", [0.0, 0.1, 0.5])
    def test_a_target_reached_ends_the_trial_where_it_has_held(self, held_for: float) -> None:
        workload = small_workload(n=200)
        trial = small_trial(workload, batch_size=4)
        whole = run_engine(workload, trial, RunLength(epochs=5)).evaluations
        target = Target(metric="loss", value=0.7, better="lower", held_for=held_for)
        crossing = crossing_of(whole, target)
        assert crossing is not None

        run = run_engine(workload, trial, RunLength(epochs=5, until=target))

        assert run.outcome.status is Status.TARGET_REACHED
        assert run.evaluations[-1].step == crossing.held_until_step
        n = len(run.evaluations)
        assert run.evaluations[:-1] == whole[: n - 1]
        assert crossing_of(run.evaluations, target) == crossing

    def test_a_target_met_only_at_the_last_step_leaves_the_trial_ok(self) -> None:
        """No evaluation after it could say whether it held; a longer run can."""
        workload = small_workload()
        trial = small_trial(workload, batch_size=40)
        last = run_engine(workload, trial, RunLength(steps=3)).evaluations[-1]
        value = last.score("validation", "loss")
        assert value is not None

        run = run_engine(
            workload,
            trial,
            RunLength(steps=3, until=Target(metric="loss", value=value, better="lower")),
        )

        assert run.outcome.status is Status.OK


class TestTask:
    def test_a_trial_for_another_training_set_is_refused(self) -> None:
        trial = small_trial(small_workload(n=40), batch_size=10)

        with pytest.raises(TrialError, match="has 50 training examples, the trial says 40"):
            run_engine(small_workload(n=50), trial, RunLength(epochs=1))
