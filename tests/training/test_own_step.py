"""OwnStep: the user's own step is the textbook's, and nothing of it is lost at a stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.reference.engine_run import run_engine, taken
from tests.reference.small_workloads import (
    accuracy,
    adam,
    cross_entropy,
    momentum_sgd,
    small_trial,
    small_workload,
)
from tests.reference.textbook_loop import assert_same_weights, steps_of, train_by_the_textbook
from torch import Tensor, nn

from batchlab.errors import BatchSizeError, WorkloadError
from batchlab.records.run import RunLength
from batchlab.records.trial import Status
from batchlab.training.stepper import Stepper

CPU = torch.device("cpu")


def clipping_step(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
    optimizer.zero_grad()
    loss = cross_entropy(model, batch)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.3)
    optimizer.step()
    return loss


class TestClipping:
    @pytest.mark.parametrize(
        "fields",
        [
            *({"optimizer": each, "clip_norm": 0.3} for each in (momentum_sgd, adam)),
            {"step": clipping_step},
        ],
    )
    def test_the_gradient_is_clipped_as_the_textbook_does_bit_for_bit(
        self, fields: dict[str, Any]
    ) -> None:
        workload = replace(small_workload(), **fields)
        trial = small_trial(workload, batch_size=8)

        stepper, losses = taken(workload, trial, 10)

        twin = train_by_the_textbook(workload, steps_of(trial, epochs=2), clip_norm=0.3)
        assert losses == twin.losses
        assert_same_weights(stepper.model, twin.model)

    def test_each_gradient_of_a_closure_is_clipped(self) -> None:
        norms: list[float] = []

        class Watching(torch.optim.LBFGS):
            def _gather_flat_grad(self) -> Tensor:
                flat: Tensor = super()._gather_flat_grad()  # type: ignore[no-untyped-call]
                norms.append(float(flat.norm()))
                return flat

        def watched(parameters: Any, rate: float) -> torch.optim.Optimizer:
            return Watching(parameters, lr=rate, max_iter=3)

        workload = replace(small_workload(optimizer=watched), clip_norm=0.01)

        taken(workload, small_trial(workload, batch_size=8), 3)

        assert len(norms) > 3
        assert max(norms) <= 0.01 * (1 + 1e-6)


class TestStep:
    @pytest.mark.parametrize(
        ("returned", "told"),
        [
            (lambda loss: loss, 1.5),
            (lambda loss: {"a": loss, "loss": loss + 1}, 2.5),
            (lambda loss: {"a": loss, "b": loss + 1}, 1.5),
            (lambda loss: float(loss), 1.5),
            (lambda loss: loss.reshape(1, 1), 1.5),
        ],
    )
    def test_what_it_returns_tells_the_loss(
        self, returned: Callable[..., Any], told: float
    ) -> None:
        step = lambda model, optimizer, batch: returned(torch.tensor(1.5))  # noqa: E731
        workload = replace(small_workload(), step=step)

        _, losses = taken(workload, small_trial(workload, batch_size=8), 2)

        assert losses == [told] * 2

    @pytest.mark.parametrize(
        ("returned", "told"),
        [
            (None, "`step` returned nothing"),
            ({}, "`step` returned an empty dict;"),
            (torch.zeros(3), "`step` returned a tensor of shape (3,)"),
            ({"loss": None}, "`step` returned a dict that begins with nothing"),
            ("0.5", "`step` returned a str;"),
        ],
    )
    def test_other_things_are_refused(self, returned: Any, told: str) -> None:
        workload = replace(small_workload(), step=lambda model, optimizer, batch: returned)

        with pytest.raises(WorkloadError) as refused:
            taken(workload, small_trial(workload, batch_size=8), 1)

        assert str(refused.value).startswith(f"workload 'small': {told}")

    def test_one_that_does_not_is_never_given_a_part_of_a_batch(self) -> None:
        workload = replace(small_workload(), step=clipping_step)

        with pytest.raises(BatchSizeError, match="takes whole batches; let it take a tuple"):
            Stepper(workload, small_trial(workload, batch_size=8, micro_batch_size=4), CPU)

    def test_the_schedule_moves_the_rates_of_all_its_optimizers(self) -> None:
        rates: list[list[float]] = []

        def optimizer(named_parameters: Any, learning_rate: float) -> Any:
            parts = [parameter for _, parameter in named_parameters]
            return {
                "first": torch.optim.SGD(parts[:2], lr=learning_rate),
                "last": torch.optim.Adam(parts[2:], lr=3 * learning_rate),
            }

        def step(model: nn.Module, optimizers: Any, batch: Any) -> Tensor:
            rates.append([each.param_groups[0]["lr"] for each in optimizers.values()])
            return torch.zeros(())

        workload = replace(
            small_workload(), optimizer=optimizer, step=step, schedule=lambda fraction: 1 - fraction
        )
        trial = small_trial(workload, batch_size=8, learning_rate=0.1, horizon_steps=4)

        taken(workload, trial, 4)

        assert rates == [pytest.approx([0.1 * left, 0.3 * left]) for left in (1.0, 0.75, 0.5, 0.25)]


class TestWithoutALoss:
    def test_the_metrics_are_evaluated_and_no_loss(self) -> None:
        workload = replace(small_workload(), loss=None, step=clipping_step)

        run = run_engine(workload, small_trial(workload, batch_size=8), RunLength(steps=5))

        assert run.outcome.status is Status.OK
        assert {score.metric for each in run.evaluations for score in each.scores} == {"accuracy"}
        assert run.evaluations[-1].batch_loss is not None

    def test_so_does_the_metric_that_counts(self) -> None:
        def soft(model: nn.Module, batch: Any) -> Tensor:
            return accuracy(model, batch) if steps[0] < 3 else torch.tensor(float("nan"))

        steps = [0]

        def step(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
            steps[0] += 1
            return clipping_step(model, optimizer, batch)

        workload = replace(small_workload(), loss=None, step=step, metrics={"accuracy": soft})

        run = run_engine(workload, small_trial(workload, batch_size=8), RunLength(steps=9))

        assert run.outcome.status is Status.NAN
        assert run.outcome.reason is not None
        assert run.outcome.reason.code == "metric_not_finite_at_evaluation"
