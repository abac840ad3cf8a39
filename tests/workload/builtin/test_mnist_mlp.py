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
