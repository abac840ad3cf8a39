"""How far two models lie apart: whole and by layer, from models and from state dicts."""

from __future__ import annotations

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


def test_a_model_counts_by_its_parameters_and_lies_nowhere_from_itself() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))

    found = batchlab.weight_distance(model, model)

    assert found.whole == 0
    assert [name for name, _ in found.layers] == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_whole_numbers_in_a_state_dict_are_no_weights() -> None:
    norm = nn.BatchNorm1d(4)

    found = batchlab.weight_distance(norm.state_dict(), norm.state_dict())

    assert "num_batches_tracked" not in dict(found.layers)


def test_half_precision_is_widened_before_it_is_squared() -> None:
    one = {"weight": torch.full((100,), 300.0, dtype=torch.float16)}

    found = batchlab.weight_distance(one, {"weight": torch.zeros(100, dtype=torch.float16)})

    assert found.whole == pytest.approx(3000.0)


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
