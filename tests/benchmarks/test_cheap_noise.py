"""The cheap forms of the noise scale beside what they stand for."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from tests.reference.script import script
from torch import nn

from batchlab.laws.noise_scale import noise_scale
from batchlab.measurements.gradient_noise import GradientNoise
from batchlab.records.gradient_sample import GradientSample
from batchlab.workload.loading import loaded_workload


@pytest.fixture(scope="module")
def cheap_noise() -> Iterator[ModuleType]:
    with script("cheap_noise.py") as module:
        yield module


def test_of_many_micro_batches_it_is_the_noise_scale(
    cheap_noise: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload = loaded_workload("least-squares", {"n": "16000"}).workload
    torch.manual_seed(0)
    model = workload.model()
    monkeypatch.setattr(cheap_noise, "BATCHES", 240)  # nearly all examples
    noise = GradientNoise(workload, torch.device("cpu"))
    truth = noise_scale(noise.sample(model, seed=0, precision=0.0).sample).scale.estimate
    assert truth is not None

    assert cheap_noise.accumulated(workload, model, 0) == pytest.approx(truth, rel=0.05)


def sample(trace: float, grad_sq: float) -> GradientSample:
    """Two thousand examples in four blocks, without chance: exactly this trace and this |G|^2."""
    block = 500
    products = [
        [grad_sq + (trace / block if row == column else 0.0) for column in range(4)]
        for row in range(4)
    ]
    return GradientSample(
        n_train=None,
        unit_examples=1,
        block_examples=(block,) * 4,
        unit_sq=(grad_sq + trace,) * 4,
        products=tuple(map(tuple, products)),
    )


def test_of_normalization_layers_the_sums_are_divided_and_not_the_ratios_averaged(
    cheap_noise: ModuleType,
) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
    layers = {
        "0.weight": sample(1e6, 1.0),
        "1.weight": sample(30.0, 2.0),
        "1.bias": sample(6.0, 1.0),
    }

    assert cheap_noise.of_layer_norms(model, layers) == pytest.approx(12.0)


def test_a_model_without_such_layers_has_none(cheap_noise: ModuleType) -> None:
    assert cheap_noise.of_layer_norms(nn.Linear(2, 1), {"weight": sample(1.0, 1.0)}) is None
