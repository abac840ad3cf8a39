"""MadeOptimizers: what `optimizer` is asked with, and what it may return."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.reference.small_workloads import small_mlp, small_workload

from batchlab.errors import WorkloadError
from batchlab.training.optimizers import made_optimizers
from batchlab.workload.definition import Workload


def decayed(named_parameters: Any, learning_rate: float, decay: float = 0.1) -> Any:
    named = list(named_parameters)
    weights = [part for name, part in named if name.endswith("weight")]
    biases = [part for name, part in named if name.endswith("bias")]
    groups = [{"params": weights, "weight_decay": decay}, {"params": biases, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=learning_rate)


def workload(optimizer: Any, **fields: Any) -> Workload:
    return replace(small_workload(optimizer=optimizer), **fields)


def test_one_that_asks_for_names_gets_them() -> None:
    model = small_mlp()

    made = made_optimizers(workload(decayed), model, 0.1)

    groups = made.optimizers[0].param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert groups[0]["params"][0] is model.get_parameter("0.weight")
    assert groups[1]["params"][1] is model.get_parameter("3.bias")


def test_names_go_straight_into_an_optimizer_of_pytorch() -> None:
    def optimizer(named_parameters: Any, learning_rate: float) -> Any:
        return torch.optim.AdamW(named_parameters, lr=learning_rate)

    made = made_optimizers(workload(optimizer), small_mlp(), 0.1)

    assert made.optimizers[0].param_groups[0]["param_names"][0] == "0.weight"


def test_others_get_parameters() -> None:
    model = small_mlp()

    made = made_optimizers(workload(torch.optim.SGD), model, 0.1)

    assert made.optimizers[0].param_groups[0]["params"] == list(model.parameters())


def several(parameters: Any, learning_rate: float) -> dict[str, Any]:
    return {
        "scaler": torch.amp.GradScaler("cpu"),
        "first": torch.optim.SGD(parameters[:2], lr=learning_rate),
        "last": torch.optim.Adam(parameters[2:], lr=learning_rate),
    }


def test_a_dict_holds_optimizers_and_what_else_is_kept() -> None:
    made = made_optimizers(workload(several, step=lambda *_: None), small_mlp(), 0.1)

    assert [type(each).__name__ for each in made.optimizers] == ["SGD", "Adam"]
    assert made.given["last"] is made.optimizers[1]
    assert sorted(made.kept) == ["optimizer last", "optimizer scaler"]


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        (None, "`optimizer` returned a NoneType"),
        ({"a": 3}, "has an object of type int under 'a'"),
        ({}, "has no torch.optim.Optimizer in it"),
        ({"a": torch.amp.GradScaler("cpu")}, "has no torch.optim.Optimizer in it"),
    ],
)
def test_anything_else_is_refused(returned: Any, told: str) -> None:
    given = workload(lambda parameters, rate: returned, step=lambda *_: None)

    with pytest.raises(WorkloadError) as refused:
        made_optimizers(given, small_mlp(), 0.1)

    assert told in str(refused.value)


def test_a_dict_without_a_step_is_refused() -> None:
    with pytest.raises(WorkloadError, match="only a `step` of your own knows when each of them"):
        made_optimizers(workload(several), small_mlp(), 0.1)
