"""How far two models lie apart: whole and by layer, from models and from state dicts."""

import copy

import pytest
import torch
from torch import nn

import batchlab
from batchlab.errors import UsageError


def moved(model: nn.Module, by: float) -> dict[str, torch.Tensor]:
    return {name: value.detach() + by for name, value in model.state_dict().items()}


def test_the_squares_of_the_layers_sum_to_that_of_the_whole() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))

    found = batchlab.weight_distance(model.state_dict(), moved(model, 0.5))

    assert dict(found.layers) == {
        "0.weight": pytest.approx(0.5 * 12**0.5),
        "0.bias": pytest.approx(0.5 * 4**0.5),
        "1.weight": pytest.approx(0.5 * 8**0.5),
        "1.bias": pytest.approx(0.5 * 2**0.5),
    }
    assert found.whole == pytest.approx(0.5 * 26**0.5)


@pytest.mark.parametrize(
    ("one", "far"),
    [(torch.full((100,), 300.0, dtype=torch.float16), 3000.0), (torch.tensor([3 + 4j]), 5.0)],
    ids=["half precision is widened", "both parts of complex weights"],
)
def test_every_kind_of_number_counts(one: torch.Tensor, far: float) -> None:
    found = batchlab.weight_distance({"w": one}, {"w": torch.zeros_like(one)})

    assert found.whole == pytest.approx(far)


def test_weights_that_two_names_share_count_once() -> None:
    tied = nn.ModuleDict({name: nn.Linear(2, 2, bias=False) for name in ("first", "last")})
    tied["last"].weight = tied["first"].weight
    other = copy.deepcopy(tied)
    with torch.no_grad():
        other["first"].weight += 1.0

    of_models = batchlab.weight_distance(tied, other)
    of_states = batchlab.weight_distance(tied.state_dict(), other.state_dict())

    assert of_models == of_states
    assert of_models.whole == pytest.approx(2.0)
    snapshot = {name: value.clone() for name, value in tied.state_dict().items()}
    assert batchlab.weight_distance(tied, snapshot).whole == 0


def test_a_model_beside_a_state_dict_counts_by_its_parameters() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))

    found = batchlab.weight_distance(model, moved(model, 0.5))

    assert found.whole == pytest.approx(0.5 * 24**0.5)
    assert found == batchlab.weight_distance(moved(model, 0.5), model)
    of_states = batchlab.weight_distance(model.state_dict(), model.state_dict())
    assert "1.num_batches_tracked" not in dict(of_states.layers)  # a whole number is no weight


def test_what_holds_no_weights_is_refused() -> None:
    checkpoint = {"model": nn.Linear(2, 2).state_dict(), "epoch": 3}

    with pytest.raises(UsageError, match="give models or their state_dict"):
        batchlab.weight_distance(checkpoint, checkpoint)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (nn.Linear(3, 4, bias=False), "bias is in one of them alone"),
        (nn.Linear(5, 4), r"'weight' has shape \(4, 3\) in one model and \(4, 5\)"),
    ],
)
def test_models_of_two_kinds_are_refused_with_what_differs(other: nn.Module, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        batchlab.weight_distance(nn.Linear(3, 4), other)
