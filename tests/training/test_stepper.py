"""Stepper: it is the textbook loop, bit for bit, and accumulates the whole batch's gradient."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from tests.reference.engine_run import taken
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
    assert_same_weights,
    steps_of,
    train_by_the_textbook,
    weighted_gradient,
)
from torch import Tensor, nn
from torch.nn import functional

from batchlab.errors import WorkloadError
from batchlab.training.stepper import step_function
from batchlab.workload.definition import Workload

OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "momentum": partial(torch.optim.SGD, momentum=0.9, weight_decay=0.01),
    "nesterov": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


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
            workload, steps_of(trial, epochs=3), learning_rate=trial.learning_rate, seed=3
        )
        assert losses == textbook.losses
        assert_same_weights(stepper.model, textbook.model)

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
            workload, steps_of(trial, epochs=2), learning_rate=trial.learning_rate, seed=0
        )
        assert_same_weights(stepper.model, textbook.model)

    def test_an_optimizer_that_asks_for_the_loss_again_gets_it(self) -> None:
        workload = small_workload(
            optimizer=lambda parameters, rate: torch.optim.LBFGS(parameters, lr=rate)
        )
        trial = small_trial(workload, batch_size=40, learning_rate=0.5)

        stepper, losses = taken(workload, trial, 4)

        textbook = train_by_the_textbook(
            workload, steps_of(trial, epochs=4), learning_rate=0.5, seed=0
        )
        assert losses == textbook.losses
        assert losses[-1] < 0.5 * losses[0]
        assert_same_weights(stepper.model, textbook.model)


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
        rates: list[list[float]] = []

        def watched(parameters: list[nn.Parameter], rate: float) -> torch.optim.Optimizer:
            groups = [{"params": parameters[:1]}, {"params": parameters[1:], "lr": 2 * rate}]
            return watching(torch.optim.SGD(groups, lr=rate), rates)

        workload = replace(small_workload(optimizer=watched), schedule=cosine)
        trial = small_trial(workload, batch_size=8, learning_rate=0.1, horizon_steps=12)

        taken(workload, trial, 12)

        expected = [0.1 * cosine(step / 12) for step in range(12)]
        assert [first for first, _ in rates] == expected
        assert [second for _, second in rates] == pytest.approx([2 * rate for rate in expected])
        assert all(type(first) is float for first, _ in rates)

    def test_a_cool_down_lets_the_rate_fall_linearly_to_zero_over_its_part_of_the_run(self) -> None:
        rates: list[list[float]] = []
        workload = small_workload(
            optimizer=lambda parameters, rate: watching(torch.optim.SGD(parameters, rate), rates)
        )
        trial = small_trial(workload, batch_size=8, learning_rate=0.1, horizon_steps=10)

        taken(workload, replace(trial, cool_down=0.4), 10)

        assert [rate for (rate,) in rates] == pytest.approx([0.1] * 7 + [0.075, 0.05, 0.025])


def watching(optimizer: torch.optim.Optimizer, rates: list[list[float]]) -> torch.optim.Optimizer:
    """The optimizer, which tells the rates of its groups before every step."""
    optimizer.register_step_pre_hook(
        lambda optimizer, args, kwargs: rates.append([g["lr"] for g in optimizer.param_groups])
    )
    return optimizer


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
