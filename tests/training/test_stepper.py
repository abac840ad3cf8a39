"""Stepper: it is the textbook loop, bit for bit, and accumulates the whole batch's gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.reference.small_workloads import (
    CLASSES,
    FEATURES,
    cosine,
    points,
    small_mlp,
    small_trial,
    small_workload,
)
from tests.reference.textbook_loop import (
    cut_into_steps,
    train_by_the_textbook,
    weighted_gradient,
)
from torch import Tensor, nn
from torch.nn import functional

from batchlab.errors import WorkloadError
from batchlab.records.trial import Trial
from batchlab.training.batching import epoch_order
from batchlab.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from batchlab.training.stepper import Stepper, step_function
from batchlab.workload.definition import Workload

OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "momentum": partial(torch.optim.SGD, momentum=0.9, weight_decay=0.01),
    "nesterov": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def taken(workload: Workload, trial: Trial, n_steps: int) -> tuple[Stepper, list[float]]:
    """A stepper after `n_steps` steps, and their losses."""
    stepper = Stepper(workload, trial, torch.device("cpu"))
    losses, _ = stepper.steps(stepper.stream(0), n_steps, first_step=0)
    return stepper, losses


def order_of(trial: Trial, *, epochs: int) -> list[list[int]]:
    """The examples of every step; a full batch takes them as they lie."""
    steps = []
    for epoch in range(epochs):
        order = epoch_order(trial.n_train, seed=trial.seed, epoch=epoch, sampling=trial.sampling)
        if trial.batch_mode == "full" and trial.sampling == "reshuffle":
            order = torch.arange(trial.n_train)
        steps += cut_into_steps(order.tolist(), trial.batch_size, drop_last=trial.drop_last)
    return steps


def assert_bit_for_bit(model: nn.Module, other: nn.Module) -> None:
    for parameter, twin in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(parameter, twin)


class TestTextbook:
    @pytest.mark.parametrize("fused", [False, True])
    @pytest.mark.parametrize("name", OPTIMIZERS)
    @pytest.mark.parametrize("batch_size", [1, 7, 40])
    def test_every_optimizer_takes_the_very_same_steps(
        self, name: str, fused: bool, batch_size: int
    ) -> None:
        optimizer = partial(OPTIMIZERS[name], fused=fused)
        workload = small_workload(
            optimizer=lambda parameters, rate: optimizer(parameters, lr=rate), dropout=0.3
        )
        trial = small_trial(workload, batch_size=batch_size, seed=3)

        stepper, losses = taken(workload, trial, trial.plan.steps_in(3))

        textbook = train_by_the_textbook(
            workload, order_of(trial, epochs=3), learning_rate=trial.learning_rate, seed=3
        )
        assert losses == textbook.losses
        assert_bit_for_bit(stepper.model, textbook.model)

    def test_wide_layers_do_so_too(self) -> None:
        """Kernels of matrices are chosen by size, and can differ by where the batch lies."""
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(300, 100, generator=generator)
        workload = replace(
            small_workload(),
            model=lambda: nn.Sequential(nn.Linear(100, 128), nn.ReLU(), nn.Linear(128, CLASSES)),
            train=(x, points(300)[1]),
        )
        trial = small_trial(workload, batch_size=64)

        stepper, _ = taken(workload, trial, trial.plan.steps_in(2))

        textbook = train_by_the_textbook(
            workload, order_of(trial, epochs=2), learning_rate=trial.learning_rate, seed=0
        )
        assert_bit_for_bit(stepper.model, textbook.model)

    def test_an_optimizer_that_asks_for_the_loss_again_gets_it(self) -> None:
        workload = small_workload(
            optimizer=lambda parameters, rate: torch.optim.LBFGS(parameters, lr=rate)
        )
        trial = small_trial(workload, batch_size=40, learning_rate=0.5)

        stepper, losses = taken(workload, trial, 4)

        textbook = train_by_the_textbook(
            workload, order_of(trial, epochs=4), learning_rate=0.5, seed=0
        )
        assert losses == textbook.losses
        assert losses[-1] < 0.5 * losses[0]
        assert_bit_for_bit(stepper.model, textbook.model)

    def test_the_same_seed_means_the_same_initial_weights_at_every_batch_size(self) -> None:
        workload = small_workload()
        steppers = [
            Stepper(workload, small_trial(workload, batch_size=size, seed=5), torch.device("cpu"))
            for size in (1, 8, 40)
        ]

        assert_bit_for_bit(steppers[0].model, steppers[1].model)
        assert_bit_for_bit(steppers[0].model, steppers[2].model)


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
    @pytest.mark.parametrize("micro_batch_size", [1, 3, 5, 7, 19, 20])
    def test_it_leaves_the_gradient_of_the_whole_batch(self, micro_batch_size: int) -> None:
        workload = small_workload(n=20, dtype=torch.float64)
        whole = small_trial(workload, batch_size=20)

        cut, losses = taken(workload, replace(whole, micro_batch_size=micro_batch_size), 1)

        plain, expected = taken(workload, whole, 1)
        assert losses == pytest.approx(expected, rel=1e-14)
        assert_close_gradients(gradients(cut.model), gradients(plain.model))

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

        assert_close_gradients(gradients(stepper.model), expected)
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


def gradients(model: nn.Module) -> list[Tensor]:
    return [part.grad for part in model.parameters() if part.grad is not None]


def assert_close_gradients(
    found: list[Tensor], expected: list[Tensor], *, tolerance: float = 1e-14
) -> None:
    for part, twin in zip(found, expected, strict=True):
        assert torch.allclose(part, twin, rtol=tolerance, atol=tolerance)


class TestSchedule:
    def test_every_step_is_taken_at_its_own_rate(self) -> None:
        rates: list[tuple[float, float]] = []

        def watched(parameters: list[nn.Parameter], rate: float) -> torch.optim.Optimizer:
            groups = [
                {"params": parameters[:1], "lr": rate},
                {"params": parameters[1:], "lr": 2 * rate},
            ]
            optimizer = torch.optim.SGD(groups, lr=rate)
            optimizer.register_step_pre_hook(
                lambda optimizer, args, kwargs: rates.append(
                    (optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"])
                )
            )
            return optimizer

        workload = replace(small_workload(optimizer=watched), schedule=cosine)
        trial = small_trial(workload, batch_size=8, learning_rate=0.1, horizon_steps=12)

        taken(workload, trial, 12)

        expected = [0.1 * cosine(step / 12) for step in range(12)]
        assert [first for first, _ in rates] == expected
        assert [second for _, second in rates] == pytest.approx([2 * rate for rate in expected])
        assert all(type(first) is float for first, _ in rates)

    def test_a_cool_down_lets_the_rate_fall_linearly_to_zero_over_its_part_of_the_run(self) -> None:
        rates: list[float] = []

        def watched(parameters: list[nn.Parameter], rate: float) -> torch.optim.Optimizer:
            optimizer = torch.optim.SGD(parameters, lr=rate)
            optimizer.register_step_pre_hook(
                lambda optimizer, args, kwargs: rates.append(optimizer.param_groups[0]["lr"])
            )
            return optimizer

        workload = small_workload(optimizer=watched)
        trial = small_trial(workload, batch_size=8, learning_rate=0.1, horizon_steps=10)

        taken(workload, replace(trial, cool_down=0.4), 10)

        assert rates == pytest.approx([0.1] * 7 + [0.075, 0.05, 0.025])


def one_parameter(make: Callable[..., torch.optim.Optimizer]) -> tuple[nn.Parameter, Any]:
    parameter = nn.Parameter(torch.tensor([1.0, -2.0]))
    parameter.grad = torch.tensor([0.3, 0.5])
    return parameter, make([parameter], lr=0.1)


class TestStepFunction:
    @pytest.mark.parametrize("fused", [False, True])
    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_it_does_what_step_does(self, name: str, fused: bool) -> None:
        make = partial(OPTIMIZERS[name], fused=fused)
        (bare, quick), (plain, optimizer) = one_parameter(make), one_parameter(make)

        for _ in range(3):
            step_function(quick)()
            optimizer.step()

        assert torch.equal(bare, plain)
        assert not torch.equal(bare, torch.tensor([1.0, -2.0]))

    @pytest.mark.parametrize("when", ["pre", "post"])
    def test_hooks_of_the_optimizer_are_kept(self, when: str) -> None:
        _, optimizer = one_parameter(torch.optim.SGD)
        seen: list[str] = []
        register = getattr(optimizer, f"register_step_{when}_hook")
        register(lambda optimizer, args, kwargs: seen.append(when))

        step_function(optimizer)()

        assert seen == [when]


@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_buffer_made_by_expand_is_taken_up_again(ema: float | None, tmp_path: Path) -> None:
    class Expanded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = small_mlp()
            self.register_buffer("scale", torch.full((1,), 2.0).expand(CLASSES))
            self.again = nn.Module()
            self.again.register_buffer("scale", self.scale)

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.net(x) * self.scale
            return found

    workload = replace(small_workload(), model=Expanded, ema=ema)
    stepper = Stepper(workload, small_trial(workload, batch_size=8), torch.device("cpu"))
    stepper.step(next(stepper.stream(0)))
    kept = {"model": stepper.model, "optimizer": stepper.optimizer, "beside": stepper.kept}
    progress = Progress(
        step=1,
        samples=8,
        train_s=0.0,
        eval_s=0.0,
        loss_sum=0.0,
        loss_examples=0,
        evaluations=(),
        versions=(),
        engine="plain",
        threads=1,
    )

    save_checkpoint(tmp_path / "kept", progress=progress, **kept)  # type: ignore[arg-type]

    assert load_checkpoint(tmp_path / "kept", **kept).step == 1  # type: ignore[arg-type]
    assert stepper.model.again.scale is stepper.model.scale  # type: ignore[union-attr]
