"""mnist-mlp: each setting changes what it says it changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from batchlab.datasets.embedded import Mnist, load_mnist
from batchlab.errors import WorkloadError
from batchlab.workload import pieces
from batchlab.workload.builtin.mnist_mlp import workload
from batchlab.workload.definition import Workload
from batchlab.workload.pieces import Pixels


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch: pytest.MonkeyPatch, mnist: dict[int, Mnist]) -> None:
    """Read the database once for the file, not once for each setting."""
    monkeypatch.setattr(pieces, "load_mnist", lambda *, n_validation: mnist[n_validation])


@pytest.fixture(scope="module")
def mnist() -> dict[int, Mnist]:
    return {n: load_mnist(n_validation=n) for n in (0, 10_000)}


def made(workload: Workload, *, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    model = workload.model()
    assert isinstance(model, nn.Sequential)
    return model


def linears(model: nn.Module) -> list[nn.Linear]:
    return [module for module in model.modules() if isinstance(module, nn.Linear)]


def head(part: Any, n: int = 100) -> tuple[Tensor, Tensor]:
    return part[0][:n], part[1][:n]


def test_the_default_is_two_layers_of_128_relus_on_unit_pixels() -> None:
    model = made(workload())

    kinds = [type(module) for module in model]
    assert kinds == [Pixels, nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert [tuple(layer.weight.shape) for layer in linears(model)] == [
        (128, 784),
        (128, 128),
        (10, 128),
    ]


def test_the_reference_is_batch_64_at_rate_0_01_with_momentum() -> None:
    given = workload()

    assert given.optimizer is not None
    optimizer = given.optimizer(made(given).parameters(), given.learning_rate)

    assert (given.batch_size, given.learning_rate) == (64, 0.01)
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.defaults["momentum"] == 0.9


def test_split_trains_on_50_000_and_validates_on_10_000() -> None:
    given = workload(train="split")

    assert (len(given.train[0]), len(given.validation[0]), len(given.test[0])) == (
        50_000,
        10_000,
        10_000,
    )


def test_layers_and_width_shape_the_network() -> None:
    model = made(workload(layers=3, width=20))

    assert [tuple(layer.weight.shape) for layer in linears(model)] == [
        (20, 784),
        (20, 20),
        (20, 20),
        (10, 20),
    ]


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


def test_forty_steps_learn_something() -> None:
    given = workload()
    model = made(given)
    assert given.optimizer is not None
    optimizer = given.optimizer(model.parameters(), 0.05)

    for step in range(40):
        optimizer.zero_grad()
        batch = tuple(part[64 * step : 64 * (step + 1)] for part in given.train)
        given.loss(model, batch).backward()
        optimizer.step()

    metric = given.metrics["accuracy"]
    assert callable(metric)
    assert metric(model, head(given.validation, 1000)).item() > 0.7
