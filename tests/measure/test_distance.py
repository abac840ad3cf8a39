"""How far two models lie apart: whole and by layer, from models and from state dicts."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from batchlab import weight_distance
from batchlab.errors import UsageError


def moved(model: nn.Module, by: float) -> dict[str, torch.Tensor]:
    return {name: value.detach() + by for name, value in model.state_dict().items()}


def test_the_squares_of_the_layers_sum_to_that_of_the_whole() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    n_weights = {"0.weight": 12, "0.bias": 4, "1.weight": 4, "1.bias": 4}
    n_weights |= {"2.weight": 8, "2.bias": 2}

    # Next to a state dict a model counts by its parameters, without its buffers.
    distance = weight_distance(model, moved(model, 0.5))

    assert distance == weight_distance(moved(model, 0.5), model)
    assert dict(distance.layers) == pytest.approx({k: 0.5 * n**0.5 for k, n in n_weights.items()})
    assert distance.whole == pytest.approx(0.5 * sum(n_weights.values()) ** 0.5)
    of_states = weight_distance(model.state_dict(), model.state_dict())
    assert of_states.whole == 0
    assert "1.num_batches_tracked" not in dict(of_states.layers)  # a whole number is no weight


@pytest.mark.parametrize(
    ("one", "far"),
    [(torch.full((100,), 300.0, dtype=torch.float16), 3000.0), (torch.tensor([3 + 4j]), 5.0)],
    ids=["half precision is widened", "both parts of complex weights"],
)
def test_every_kind_of_number_counts(one: torch.Tensor, far: float) -> None:
    distance = weight_distance({"w": one}, {"w": torch.zeros_like(one)})

    assert distance.whole == pytest.approx(far)


def test_weights_that_two_names_share_count_once() -> None:
    tied = nn.ModuleDict({name: nn.Linear(2, 2, bias=False) for name in ("first", "last")})
    tied["last"].weight = tied["first"].weight
    other = copy.deepcopy(tied)
    with torch.no_grad():
        other["first"].weight += 1.0
    snapshot = {name: value.clone() for name, value in tied.state_dict().items()}

    of_models = weight_distance(tied, other)

    assert of_models == weight_distance(tied.state_dict(), other.state_dict())
    assert of_models.whole == pytest.approx(2.0)
    assert weight_distance(tied, snapshot).whole == 0


CHECKPOINT = {"model": nn.Linear(2, 2).state_dict(), "epoch": 3}


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        (CHECKPOINT, CHECKPOINT, "give models or their state_dict"),
        (nn.Linear(3, 4), nn.Linear(3, 4, bias=False), "bias is in one of them alone"),
        (nn.Linear(3, 4), nn.Linear(5, 4), r"'weight' has shape \(4, 3\) in one model and \(4, 5"),
    ],
)
def test_what_cannot_be_compared_is_refused(first: Any, second: Any, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        weight_distance(first, second)
