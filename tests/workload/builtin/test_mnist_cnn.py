"""mnist-cnn: a small network, and what its settings change."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from batchlab.errors import WorkloadError
from batchlab.workload.builtin.mnist_cnn import workload


@pytest.mark.parametrize(
    ("settings", "kinds", "n_parameters"),
    [
        ({}, [nn.Conv2d, nn.ReLU, nn.Conv2d, nn.ReLU, nn.Flatten, nn.Linear], 208 + 3216 + 7850),
        (
            {"halved": "max", "channels": 4, "hidden": 30},
            [*[nn.Conv2d, nn.ReLU, nn.MaxPool2d] * 2, nn.Flatten, nn.Linear, nn.ReLU, nn.Linear],
            104 + 808 + (392 * 30 + 30) + 310,
        ),
    ],
)
def test_two_convolutions_halve_the_image_and_a_score_for_each_digit_follows(
    settings, kinds, n_parameters
) -> None:
    model = workload(**settings).model()

    assert [type(module) for module in model][2:] == kinds
    assert sum(part.numel() for part in model.parameters()) == n_parameters
    assert model(torch.zeros(3, 784, dtype=torch.uint8)).shape == (3, 10)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"channels": 0}, "channels=0; expected a whole number of at least 1"),
        ({"hidden": -1}, "hidden=-1"),
        ({"halved": "mean"}, "halved='mean' is not a choice; give one of stride, max"),
    ],
)
def test_what_is_no_setting_is_refused(settings, said) -> None:
    with pytest.raises(WorkloadError, match=said):
        workload(**settings)
