"""Ready-made pieces: optimizers by name, fused where that is right, and bytes to numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch
from torch import nn

from batchlab.datasets.embedded import load_mnist
from batchlab.errors import WorkloadError
from batchlab.workload.pieces import INPUTS, NamedOptimizer, Pixels

Make = Callable[[list[nn.Parameter]], torch.optim.Optimizer]

# What each is in PyTorch's own words, one tensor after the other.
ONE_BY_ONE = {"lr": 0.05, "foreach": False, "fused": False}
PLAIN: list[tuple[dict[str, Any], Make]] = [
    ({"name": "sgd", "momentum": 0.0}, lambda p: torch.optim.SGD(p, **ONE_BY_ONE)),
    (
        {"name": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
        lambda p: torch.optim.SGD(p, momentum=0.9, nesterov=True, weight_decay=0.1, **ONE_BY_ONE),
    ),
    (
        {"name": "adam", "momentum": 0.8, "weight_decay": 0.1},
        lambda p: torch.optim.Adam(p, betas=(0.8, 0.999), weight_decay=0.1, **ONE_BY_ONE),
    ),
    (
        {"name": "adamw", "momentum": 0.9, "weight_decay": 0.1},
        lambda p: torch.optim.AdamW(p, betas=(0.9, 0.999), weight_decay=0.1, **ONE_BY_ONE),
    ),
]
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
        ],
    ),
]


def trained(
    make: Make, *, dtype: torch.dtype, device: str
) -> tuple[list[nn.Parameter], torch.optim.Optimizer]:
    """Ten steps along made-up gradients; 40 and 7 numbers, so that vector and rest both run."""
    generator = torch.Generator().manual_seed(0)
    parameters = [
        nn.Parameter(torch.randn(n, generator=generator, dtype=dtype).to(device)) for n in (40, 7)
    ]
    optimizer = make(parameters)
    for _ in range(10):
        for parameter in parameters:
            gradient = torch.randn(parameter.shape, generator=generator, dtype=dtype)
            parameter.grad = gradient.to(device)
        optimizer.step()
    return parameters, optimizer


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("settings", "plain"), PLAIN)
def test_ten_fused_steps_end_where_ten_plain_ones_do(
    settings: dict[str, Any], plain: Make, dtype: torch.dtype, device: str
) -> None:
    named = NamedOptimizer(workload="w", **settings)

    parameters, optimizer = trained(lambda p: named(p, 0.05), dtype=dtype, device=device)

    expected, other = trained(plain, dtype=dtype, device=device)
    assert type(optimizer) is type(other)
    assert optimizer.defaults["fused"]
    # Weights of order 1 and ten steps: a few units in the last place each.
    tolerance = 100 * torch.finfo(dtype).eps
    for parameter, other in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_not_fused_because_fused_sgd_leaves_updates_out(
    dtype: torch.dtype,
) -> None:
    named = NamedOptimizer(name="sgd", workload="w")

    optimizer = named([nn.Parameter(torch.zeros(8, dtype=dtype))], 0.1)

    assert not optimizer.defaults["fused"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "lion"}, "optimizer='lion' is not a choice"),
        ({"momentum": 1.0}, "momentum=1.0"),
        ({"weight_decay": -0.1}, r"weight_decay=-0.1"),
        ({"nesterov": "yes"}, r"nesterov='yes'; expected true or false"),
        ({"nesterov": True, "momentum": 0}, r"nesterov=True .* momentum above 0"),
        ({"nesterov": True, "name": "adam"}, r"nesterov=True with optimizer='adam'"),
    ],
)
def test_what_pytorch_would_refuse_later_or_drop_is_refused_now(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(WorkloadError, match=message):
        NamedOptimizer(**{"name": "sgd", "workload": "w"} | settings)


def test_it_travels_to_another_process() -> None:
    named = NamedOptimizer(name="adam", workload="w", momentum=0.5)

    assert cloudpickle.loads(cloudpickle.dumps(named)) == named


EVERY_BYTE = torch.arange(256, dtype=torch.uint8).reshape(4, 64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("input", INPUTS)
def test_every_byte_becomes_what_the_formula_says(input: str, dtype: torch.dtype) -> None:
    numbers = Pixels(input, workload="w").to(dtype)(EVERY_BYTE)

    mean, deviation = INPUTS[input]
    expected = [[(byte / 255 - mean) / deviation for byte in row] for row in EVERY_BYTE.tolist()]
    assert numbers.dtype == dtype
    torch.testing.assert_close(numbers, torch.tensor(expected, dtype=dtype), rtol=1e-6, atol=1e-6)


def test_standardized_is_by_mean_and_deviation_of_the_60_000_training_images() -> None:
    images = load_mnist(n_validation=0).train[0]

    mean, deviation = INPUTS["standardized"]

    parts = np.array_split(images, 60)  # at once, counting would need eight times the memory
    counts = sum(np.bincount(part.ravel(), minlength=256) for part in parts)
    shares = counts / images.size
    levels = np.arange(256) / 255
    found_mean = float(shares @ levels)
    assert found_mean == pytest.approx(mean, abs=5e-5)
    assert float(shares @ (levels - found_mean) ** 2) ** 0.5 == pytest.approx(deviation, abs=5e-5)


def test_another_input_is_refused_with_the_choices() -> None:
    with pytest.raises(WorkloadError, match=r"input='raw' is not a choice; .* unit, standardized"):
        Pixels("raw", workload="w")
