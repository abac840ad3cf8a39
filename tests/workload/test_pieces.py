"""Ready-made pieces: optimizers by name, fused where that is right, and bytes to numbers."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import cloudpickle
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import batchlab
from batchlab.workload.pieces import INPUTS, NamedOptimizer, Pixels

# Each optimizer in PyTorch's own words, which take one tensor after the other.
ONE_BY_ONE = {"lr": 0.05, "foreach": False, "fused": False}
DECAY = {"weight_decay": 0.1}
PLAIN: list[tuple[dict[str, Any], Any, dict[str, Any]]] = [
    ({"name": "sgd", "momentum": 0.0}, torch.optim.SGD, {}),
    (
        {"name": "sgd", "momentum": 0.9, "nesterov": True, **DECAY},
        *(torch.optim.SGD, {"momentum": 0.9, "nesterov": True, **DECAY}),
    ),
    (
        {"name": "adam", "momentum": 0.8, **DECAY},
        *(torch.optim.Adam, {"betas": (0.8, 0.999), **DECAY}),
    ),
    (
        {"name": "adamw", "momentum": 0.9, **DECAY},
        *(torch.optim.AdamW, {"betas": (0.9, 0.999), **DECAY}),
    ),
]
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NEEDS_CUDA])]


def trained(make: Any, *, dtype: torch.dtype, device: str) -> Any:
    """Ten steps along made-up gradients; 40 and 7 numbers, so that vector and rest both run."""
    generator = torch.Generator().manual_seed(0)

    def drawn(n: int) -> torch.Tensor:
        return torch.randn(n, generator=generator, dtype=dtype).to(device)

    parameters = [nn.Parameter(drawn(40)), nn.Parameter(drawn(7))]
    optimizer = make(parameters)
    for _ in range(10):
        for parameter in parameters:
            parameter.grad = drawn(len(parameter))
        optimizer.step()
    return parameters, optimizer


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("settings", "plain", "own"), PLAIN)
def test_ten_fused_steps_end_where_ten_plain_ones_do(settings, plain, own, dtype, device):
    named = cloudpickle.loads(cloudpickle.dumps(NamedOptimizer(workload="w", **settings)))

    parameters, optimizer = trained(lambda p: named(p, 0.05), dtype=dtype, device=device)

    expected, other = trained(partial(plain, **own, **ONE_BY_ONE), dtype=dtype, device=device)
    assert type(optimizer) is type(other)
    assert optimizer.defaults["fused"]
    # Weights of order 1 and ten steps: a few units in the last place each.
    tolerance = 100 * torch.finfo(dtype).eps
    torch.testing.assert_close(parameters, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_not_fused_because_fused_sgd_leaves_updates_out(dtype):
    named = NamedOptimizer(name="sgd", workload="w")

    optimizer = named([nn.Parameter(torch.zeros(8, dtype=dtype))], 0.1)

    assert not optimizer.defaults["fused"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("input", INPUTS)
def test_every_byte_becomes_what_the_formula_says(input, dtype):
    every_byte = torch.arange(256, dtype=torch.uint8)

    numbers = Pixels(input, workload="w").to(dtype)(every_byte)

    mean, deviation = INPUTS[input]
    expected = [(byte / 255 - mean) / deviation for byte in range(256)]
    assert numbers.dtype == dtype
    torch.testing.assert_close(numbers, torch.tensor(expected, dtype=dtype), rtol=1e-6, atol=1e-6)
    assert torch.equal(every_byte, torch.arange(256, dtype=torch.uint8))


# ---- ghost batch normalization: what each part is normalized by, and what accumulation makes of it


G = 4


@pytest.mark.parametrize(
    ("n", "cuts"), [(3, [3]), (4, [4]), (8, [4, 4]), (11, [4, 4, 3]), (13, [4, 4, 5])]
)
def test_each_part_is_normalized_on_its_own_one_after_the_other(n, cuts):
    plain, x = nn.BatchNorm1d(5), torch.randn(n, 5)
    ghost = batchlab.ghost_batch_norm(copy.deepcopy(plain), G)
    other = copy.deepcopy(ghost)

    normalized = ghost(x)

    assert torch.equal(normalized, torch.cat([plain(part) for part in x.split(cuts)]))
    torch.testing.assert_close(ghost.state_dict(), plain.state_dict(), rtol=0, atol=0)
    assert torch.equal(ghost.eval()(x), plain.eval()(x))
    assert float(other.running_mean.abs().sum()) == 0.0  # a copy has layers of its own
    other(x)
    assert torch.equal(other.running_mean, plain.running_mean)


def test_its_gradient_is_that_of_micro_batches_of_that_size():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(108, 5), nn.BatchNorm1d(5)
    )
    ghost = batchlab.ghost_batch_norm(copy.deepcopy(model), G)
    batch = (torch.randn(12, 1, 8, 8), torch.randint(5, (12,)))

    def loss(model, batch):
        return F.cross_entropy(model(batch[0]), batch[1])

    loss(ghost, batch).backward()
    batchlab.Accumulator(model, loss, micro_batch_size=G).backward(batch)

    for one, other in zip(ghost.parameters(), model.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, atol=1e-6)
    for one, other in zip(ghost.buffers(), model.buffers(), strict=True):
        assert torch.allclose(one, other)
