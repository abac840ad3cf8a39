"""Stepper: what it alone can do: closures, weights of examples, hooks, a step of one's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.reference.engine_run import run_engine, taken
from tests.reference.small_workloads import (
    CLASSES,
    FEATURES,
    accuracy,
    cross_entropy,
    small_mlp,
    small_trial,
    small_workload,
)
from tests.reference.textbook_loop import beside_the_textbook, weighted_gradient
from torch import Tensor, nn
from torch.nn import functional

from batchlab.errors import BatchSizeError, WorkloadError
from batchlab.records.run import RunLength
from batchlab.records.trial import Status
from batchlab.training.stepper import Stepper, step_function
from batchlab.workload.definition import Workload


class TestClosure:
    def test_an_optimizer_that_asks_for_the_loss_again_gets_it(self) -> None:
        workload = small_workload(
            optimizer=lambda parameters, rate: torch.optim.LBFGS(parameters, lr=rate)
        )
        trial = small_trial(workload, batch_size=40, learning_rate=0.5)

        _, twin = beside_the_textbook(workload, trial, epochs=4)

        assert twin.losses[-1] < 0.5 * twin.losses[0]


def padded_sequences(n: int) -> tuple[Tensor, Tensor]:
    """Sequences of 1 to 5 tokens padded to 5; a label of -1 is padding. The last one is empty."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 5, FEATURES, dtype=torch.float64, generator=generator)
    labels = torch.randint(CLASSES, (n, 5), generator=generator)
    lengths = torch.randint(1, 6, (n,), generator=generator)
    lengths[-1] = 0
    labels[torch.arange(5) >= lengths[:, None]] = -1
    return x, labels


def token_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return functional.cross_entropy(
        model(batch[0]).flatten(0, 1), batch[1].flatten(), ignore_index=-1
    )


def n_tokens(batch: tuple[Tensor, Tensor]) -> float:
    return float((batch[1] != -1).sum())


def token_workload(n: int) -> Workload:
    return replace(
        small_workload(),
        model=lambda: small_mlp(dtype=torch.float64),
        train=padded_sequences(n),
        loss=token_loss,
        weight=n_tokens,
    )


class TestAccumulation:
    @pytest.mark.parametrize("micro_batch_size", [1, 2, 5, 8, 12])
    def test_tokens_and_not_sequences_weigh(self, micro_batch_size: int) -> None:
        workload = token_workload(12)
        trial = small_trial(workload, batch_size=12, micro_batch_size=micro_batch_size)
        x, labels = workload.train
        torch.manual_seed(0)
        model = workload.model()
        expected = weighted_gradient(
            workload,
            model,
            list(zip(x, labels, strict=True)),
            [n_tokens((x, row)) for row in labels],
        )

        stepper, losses = taken(workload, trial, 1)

        found = [part.grad for part in stepper.model.parameters()]
        torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-14)
        assert losses == pytest.approx([token_loss(model, (x, labels)).item()], rel=1e-13)

    def test_a_step_of_nothing_but_padding_is_refused(self) -> None:
        workload = token_workload(4)
        workload.train[1].fill_(-1)

        with pytest.raises(WorkloadError, match="of all 2 micro-batches of a step is 0"):
            taken(workload, small_trial(workload, batch_size=4, micro_batch_size=2), 1)

    def test_augmentation_meets_every_training_micro_batch_once(self) -> None:
        seen: list[int] = []

        def watch(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            seen.append(len(batch[0]))
            return batch

        workload = replace(small_workload(), augment=watch)

        taken(workload, small_trial(workload, batch_size=16, micro_batch_size=6), 3)

        assert seen == [6, 6, 4, 6, 6, 4, 6, 2]


@pytest.mark.parametrize("when", ["pre", "post"])
def test_hooks_of_the_optimizer_are_kept(when: str) -> None:
    parameter = nn.Parameter(torch.tensor([1.0, -2.0]))
    parameter.grad = torch.tensor([0.3, 0.5])
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    seen: list[str] = []
    register = getattr(optimizer, f"register_step_{when}_hook")
    register(lambda optimizer, args, kwargs: seen.append(when))

    step_function(optimizer)()

    assert seen == [when]


CPU = torch.device("cpu")


def clipping_step(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
    optimizer.zero_grad()
    loss = cross_entropy(model, batch)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.3)
    optimizer.step()
    return loss


class TestClipping:
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


class TestOwnStep:
    def test_it_takes_the_textbooks_steps_bit_for_bit(self) -> None:
        workload = replace(small_workload(), step=clipping_step)

        beside_the_textbook(workload, small_trial(workload, batch_size=8), epochs=2, clip_norm=0.3)

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
        assert run.outcome.reason.code == "metric_not_finite"
