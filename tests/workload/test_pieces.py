"""Ready-made pieces: optimizers by name, fused where that is right, and bytes to numbers."""

from functools import partial
from typing import Any

import cloudpickle
import pytest
import torch
from torch import nn

from batchlab.workload.pieces import NamedOptimizer, Pixels

# Each optimizer in PyTorch's own words, which take one tensor after the other.
ONE_BY_ONE = {"lr": 0.05, "foreach": False, "fused": False}
DECAY = {"weight_decay": 0.1}
PLAIN: list[tuple[dict[str, Any], Any, dict[str, Any]]] = [
    ({"name": "sgd", "momentum": 0.0}, torch.optim.SGD, {}),
    ({"name": "sgd", "momentum": 0.9, **DECAY}, torch.optim.SGD, {"momentum": 0.9, **DECAY}),
    (
        {"name": "adam", "momentum": 0.8, **DECAY},
        torch.optim.Adam,
        {"betas": (0.8, 0.999), **DECAY},
    ),
    ({"name": "adamw", "momentum": 0.9, **DECAY}, torch.optim.AdamW, DECAY),
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
def test_every_byte_becomes_a_number_up_to_1(dtype):
    every_byte = torch.arange(256, dtype=torch.uint8)

    numbers = Pixels().to(dtype)(every_byte)

    expected = torch.arange(256, dtype=dtype) / 255
    torch.testing.assert_close(numbers, expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(every_byte, torch.arange(256, dtype=torch.uint8))
