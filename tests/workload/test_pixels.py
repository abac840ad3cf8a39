"""Bytes to numbers: the formula, the type, and the data left as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from batchlab.datasets.embedded import load_mnist
from batchlab.errors import WorkloadError
from batchlab.workload.pieces import INPUTS, Pixels

EVERY_BYTE = torch.arange(256, dtype=torch.uint8).reshape(4, 64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("input", "mean", "deviation"), [(k, *v) for k, v in INPUTS.items()])
def test_every_byte_becomes_what_the_formula_says(
    input: str, mean: float, deviation: float, dtype: torch.dtype
) -> None:
    pixels = Pixels(input, workload="w").to(dtype)

    numbers = pixels(EVERY_BYTE)

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
