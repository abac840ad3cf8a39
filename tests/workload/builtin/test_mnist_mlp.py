"""mnist-mlp: each setting changes what it says it changes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from batchlab.errors import WorkloadError
from batchlab.workload.builtin.mnist_mlp import workload
from batchlab.workload.definition import Workload
from batchlab.workload.pieces import Pixels


def made(workload: Workload, *, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    model = workload.model()
    assert isinstance(model, nn.Sequential)
    return model


def linears(model: nn.Module) -> list[nn.Linear]:
    return [module for module in model.modules() if isinstance(module, nn.Linear)]


@pytest.mark.parametrize(
    ("settings", "widths"),
    [({}, [784, 128, 128, 10]), ({"layers": 3, "width": 20}, [784, 20, 20, 20, 10])],
)
def test_layers_and_width_shape_a_network_of_relus_on_unit_pixels(
    settings: dict[str, Any], widths: list[int]
) -> None:
    model = made(workload(**settings))

    hidden = [nn.Linear, nn.ReLU] * (len(widths) - 2)
    assert [type(module) for module in model] == [Pixels, *hidden, nn.Linear]
    shapes = [tuple(reversed(layer.weight.shape)) for layer in linears(model)]
    assert shapes == list(pairwise(widths))


def test_the_reference_is_batch_64_at_rate_0_01_with_momentum_on_50_000_images() -> None:
    given = workload()

    assert given.optimizer is not None
    optimizer = given.optimizer(made(given).parameters(), given.learning_rate)

    assert (given.batch_size, given.learning_rate) == (64, 0.01)
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.defaults["momentum"] == 0.9
    sizes = [len(part[0]) for part in (given.train, given.validation, given.test)]
    assert sizes == [50_000, 10_000, 10_000]


@pytest.mark.parametrize(
    ("init", "deviation", "largest", "bias_is_zero"),
    [
        # Uniform within ± a has deviation a / sqrt(3); fan-in 784, fan-out 500.
        ("torch", (1 / 784 / 3) ** 0.5, (1 / 784) ** 0.5, False),
        ("glorot", (2 / (784 + 500)) ** 0.5, (6 / (784 + 500)) ** 0.5, True),
        ("he", (2 / 784) ** 0.5, None, True),
    ],
)
def test_init_draws_the_first_weights_as_its_paper_says(
    init: str, deviation: float, largest: float | None, bias_is_zero: bool
) -> None:
    first = linears(made(workload(width=500, init=init)))[0]

    weights = first.weight.detach().double()
    # The deviation of n draws has itself a deviation of at most sigma / sqrt(2 n).
    standard_error = deviation / (2 * weights.numel()) ** 0.5
    assert abs(weights.std().item() - deviation) < 4 * standard_error
    if largest is not None:
        assert 0.999 * largest < weights.abs().max().item() <= largest * (1 + 1e-6)
    else:
        assert weights.abs().max().item() > 4 * deviation  # a normal's tail, no uniform has it
    assert (first.bias.detach() == 0).all().item() == bias_is_zero


@pytest.mark.parametrize(
    ("setting", "choices"),
    [
        ("activation", "relu, tanh, gelu"),
        ("init", "torch, glorot, he"),
        ("input", "unit, standardized"),
        ("train", "split, all"),
        ("optimizer", "sgd, adam, adamw"),
    ],
)
def test_a_value_outside_the_choices_is_answered_with_them(setting: str, choices: str) -> None:
    settings: dict[str, Any] = {setting: "other"}

    with pytest.raises(WorkloadError, match=f"mnist-mlp: {setting}='other' .* one of {choices}"):
        workload(**settings)


def test_batch_normalization_stands_between_linear_and_activation_and_may_be_of_ghosts() -> None:
    model = made(workload(batch_norm=True, layers=5, width=16))
    ghosts = made(workload(ghost_batch_size=4, layers=5, width=16))

    kinds = [type(module) for module in model][1:]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 5 + [nn.Linear]
    assert [type(module) for module in ghosts][1:] == kinds
    ghosts.load_state_dict(model.state_dict())
    images = torch.randint(0, 255, (8, 784), dtype=torch.uint8)
    halves = torch.cat([model(images[:4]), model(images[4:])])
    # A later layer sees what the one before made of the same halves.
    assert torch.allclose(ghosts(images), halves, atol=1e-5)
    assert not torch.allclose(model(images), halves, atol=1e-3)


def test_the_rate_falls_in_steps_and_the_gradient_is_clipped_where_that_is_asked_for() -> None:
    given = workload(schedule="steps", clip_norm=5.0)

    assert given.clip_norm == 5.0
    assert given.schedule is not None
    rates = [given.schedule(epoch / 50) for epoch in range(51)]
    # Hoffer et al.'s epochs on MNIST: 0 to 9, 10 to 19, 20 to 29, 30 to 49.
    assert rates == pytest.approx([1.0] * 10 + [0.1] * 10 + [0.01] * 10 + [0.001] * 21)
    assert (workload().clip_norm, workload().schedule) == (None, None)


@pytest.mark.parametrize(
    "settings", [{"ghost_batch_size": -1}, {"clip_norm": -1.0}, {"schedule": "cosine"}]
)
def test_what_is_no_regime_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(WorkloadError, match=next(iter(settings))):
        workload(**settings)
