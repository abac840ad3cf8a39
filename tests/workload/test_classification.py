"""Classification: loss and accuracy are means over the batch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from batchlab.workload.digits import accuracy, cross_entropy, labelled_tensors

SCORES = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 0.0], [1.0, 1.0, 4.0], [5.0, 0.0, 0.0]])
LABELS = torch.tensor([0, 1, 0, 2])


def test_cross_entropy_is_the_mean_of_what_each_example_costs() -> None:
    costs = [
        math.log(sum(math.exp(score) for score in row)) - row[label]
        for row, label in zip(SCORES.tolist(), LABELS.tolist(), strict=True)
    ]

    loss = cross_entropy(nn.Identity(), (SCORES, LABELS))

    assert loss.item() == pytest.approx(sum(costs) / 4, rel=1e-6)


def test_accuracy_is_the_fraction_of_right_guesses() -> None:
    assert accuracy(nn.Identity(), (SCORES, LABELS)).item() == 0.5


def test_tensors_share_the_memory_of_the_inputs_and_have_labels_for_cross_entropy() -> None:
    inputs, labels = np.zeros((2, 3), np.uint8), np.array([1, 2], np.uint8)

    x, y = labelled_tensors(inputs, labels)

    assert x.data_ptr() == inputs.ctypes.data
    assert (y.dtype, y.tolist()) == (torch.int64, [1, 2])
