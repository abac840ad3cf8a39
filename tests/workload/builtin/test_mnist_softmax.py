"""mnist-softmax: the convex one, from zero."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from batchlab.datasets.embedded import Mnist, load_mnist
from batchlab.errors import WorkloadError
from batchlab.workload.builtin import mnist_softmax
from batchlab.workload.builtin.mnist_softmax import workload


def loss_and_gradient(
    inputs: list[list[float]],
    labels: list[int],
    weights: list[list[float]],
    biases: list[float],
) -> tuple[float, list[list[float]], list[float]]:
    """Mean cross entropy, and its gradient to weights (classes × inputs) and biases.

    The gradient of one example is (p - onehot) x^T, p the softmax of its scores.
    """
    n, n_classes, n_inputs = len(inputs), len(weights), len(inputs[0])
    loss = 0.0
    weight_gradient = [[0.0] * n_inputs for _ in range(n_classes)]
    bias_gradient = [0.0] * n_classes
    for x, label in zip(inputs, labels, strict=True):
        scores = [
            sum(w * value for w, value in zip(row, x, strict=True)) + bias
            for row, bias in zip(weights, biases, strict=True)
        ]
        total = sum(math.exp(score) for score in scores)
        loss += (math.log(total) - scores[label]) / n
        for c in range(n_classes):
            error = math.exp(scores[c]) / total - (1.0 if c == label else 0.0)
            bias_gradient[c] += error / n
            for j in range(n_inputs):
                weight_gradient[c][j] += error * x[j] / n
    return loss, weight_gradient, bias_gradient


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch: pytest.MonkeyPatch, mnist: dict[int, Mnist]) -> None:
    """Read the database once for the file, not once for each setting."""
    monkeypatch.setattr(mnist_softmax, "load_mnist", lambda *, n_validation: mnist[n_validation])


@pytest.fixture(scope="module")
def mnist() -> dict[int, Mnist]:
    return {n: load_mnist(n_validation=n) for n in (0, 10_000)}


def scores_of(model: nn.Module) -> nn.Linear:
    (layer,) = (module for module in model.modules() if isinstance(module, nn.Linear))
    return layer


def test_loss_and_gradient_are_those_worked_out_by_hand() -> None:
    given = workload(input="standardized")
    model = given.model().double()
    layer = scores_of(model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # away from zero, where all classes are alike
        layer.weight += 0.01 * torch.randn(10, 784, generator=generator, dtype=torch.float64)
        layer.bias += 0.1 * torch.randn(10, generator=generator, dtype=torch.float64)
    images, labels = (part[:3] for part in given.train)

    loss = given.loss(model, (images, labels))
    loss.backward()

    by_hand = loss_and_gradient(
        [[(byte / 255 - 0.1307) / 0.3081 for byte in image] for image in images.tolist()],
        labels.tolist(),
        layer.weight.tolist(),
        layer.bias.tolist(),
    )
    assert layer.weight.grad is not None
    assert layer.bias.grad is not None
    assert loss.item() == pytest.approx(by_hand[0], rel=1e-6)
    for found, expected in ((layer.weight.grad, by_hand[1]), (layer.bias.grad, by_hand[2])):
        torch.testing.assert_close(
            found, torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("seed", [0, 1])
def test_every_seed_starts_at_zero_where_all_digits_are_as_likely(seed: int) -> None:
    given = workload()
    torch.manual_seed(seed)

    loss = given.loss(given.model(), tuple(part[:50] for part in given.train))

    assert loss.item() == pytest.approx(math.log(10), rel=1e-6)


def test_the_settings_reach_optimizer_and_data() -> None:
    given = workload(train="all", momentum=0.5, weight_decay=0.1)

    assert given.optimizer is not None
    optimizer = given.optimizer(given.model().parameters(), 0.1)

    assert given.validation is None
    assert len(given.train[0]) == 60_000
    assert optimizer.defaults.items() >= {"momentum": 0.5, "weight_decay": 0.1}.items()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"input": "raw"}, "mnist-softmax: input='raw' .* unit, standardized"),
        ({"train": "half"}, "mnist-softmax: train='half' .* split, all"),
        ({"momentum": 1}, "mnist-softmax: momentum=1; expected"),
        ({"weight_decay": -1}, "mnist-softmax: weight_decay=-1; expected"),
    ],
)
def test_an_impossible_setting_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        workload(**settings)
