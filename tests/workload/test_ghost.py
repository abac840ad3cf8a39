"""Ghost batch normalization: what each part is normalized by, and what accumulation makes of it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import batchlab

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
