"""Ghost batch normalization: what each part is normalized by, and what accumulation makes of it."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import batchlab
from batchlab.errors import BatchSizeError, WorkloadError

G = 4


def model_and_batch(n: int) -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(108, 5), nn.BatchNorm1d(5)
    )
    return model, (torch.randn(n, 1, 8, 8), torch.randint(5, (n,)))


def loss_of(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


@pytest.mark.parametrize("n", [3, 4, 8, 11, 13])
def test_each_part_is_normalized_on_its_own_one_after_the_other(n: int) -> None:
    layer = nn.BatchNorm1d(5)
    plain = copy.deepcopy(layer)
    ghost = batchlab.ghost_batch_norm(layer, G)
    x = torch.randn(n, 5)
    cuts = {3: [3], 4: [4], 8: [4, 4], 11: [4, 4, 3], 13: [4, 4, 5]}[n]

    found = ghost(x)

    assert torch.equal(found, torch.cat([plain(part) for part in x.split(cuts)]))
    assert torch.equal(ghost.running_mean, plain.running_mean)
    assert torch.equal(ghost.running_var, plain.running_var)


def test_evaluation_and_the_names_of_its_weights_stay() -> None:
    model, (x, _) = model_and_batch(8)
    ghost = batchlab.ghost_batch_norm(copy.deepcopy(model), G)

    assert ghost.state_dict().keys() == model.state_dict().keys()
    assert torch.equal(ghost.eval()(x), model.eval()(x))


def test_its_gradient_is_that_of_micro_batches_of_that_size() -> None:
    model, batch = model_and_batch(12)
    ghost = batchlab.ghost_batch_norm(copy.deepcopy(model), G)

    loss_of(ghost, batch).backward()
    batchlab.Accumulator(model, loss_of, micro_batch_size=G).backward(batch)

    for one, other in zip(ghost.parameters(), model.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, atol=1e-6)
    for one, other in zip(ghost.buffers(), model.buffers(), strict=True):
        assert torch.allclose(one, other)


def test_a_copy_has_layers_of_its_own() -> None:
    ghost = batchlab.ghost_batch_norm(nn.BatchNorm1d(5), G)

    other = copy.deepcopy(ghost)
    other(torch.randn(8, 5))

    assert float(ghost.running_mean.abs().sum()) == 0.0
    assert float(other.running_mean.abs().sum()) > 0.0


@pytest.mark.parametrize(
    ("model", "size", "error", "told"),
    [
        (nn.BatchNorm1d(5), 1, BatchSizeError, "expected 2 or more"),
        (nn.Linear(5, 5), 4, WorkloadError, "Linear has no batch normalization"),
        (nn.SyncBatchNorm(5), 4, WorkloadError, "over all processes"),
    ],
)
def test_what_has_none_to_change_is_refused(model, size, error, told) -> None:
    with pytest.raises(error, match=told):
        batchlab.ghost_batch_norm(model, size)
