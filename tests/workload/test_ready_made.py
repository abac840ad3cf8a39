"""What is handed over made is refused by a line that, typed as it stands, is right."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from tests.reference.handed_over import Net, loss, refused, workload
from torch import nn


class FocalLoss(nn.Module):
    def forward(self, outputs: Any, labels: Any) -> Any:
        return nn.functional.cross_entropy(outputs, labels)


ADAM = torch.optim.Adam(nn.Linear(1, 1).parameters())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"model": Net()}, "model is a Net that is made already"),
        ({"model": "net"}, "model is 'net'"),
        ({"loss": nn.CrossEntropyLoss()}, "loss is a CrossEntropyLoss"),
        ({"loss": nn.CrossEntropyLoss}, "loss is the class CrossEntropyLoss"),
        ({"loss": FocalLoss()}, "loss is a FocalLoss"),
        ({"loss": nn.functional.cross_entropy}, "loss is cross_entropy"),
        ({"optimizer": ADAM}, "optimizer is an Adam that is made already"),
        ({"optimizer": "adam"}, "optimizer is 'adam'"),
    ],
    ids=["model", "word", "loss", "class", "own loss", "function", "optimizer", "its name"],
)
def test_what_is_made_already_is_answered_with_the_line_to_write(
    given: dict[str, Any], told: str
) -> None:
    assert refused(**given).startswith(f"workload 'mine': {told}")


@pytest.mark.parametrize(
    "given",
    [
        {"loss": nn.CrossEntropyLoss()},
        {"loss": FocalLoss},
        {"loss": nn.functional.cross_entropy},
        {"optimizer": ADAM},
    ],
    ids=["loss", "class", "function", "optimizer"],
)
def test_the_line_that_is_shown_is_taken(given: dict[str, Any]) -> None:
    (field,) = given
    found = re.search(rf"{field}=(lambda .*)", refused(**given))
    assert found is not None

    written = eval(found[1], {"torch": torch, "FocalLoss": FocalLoss})  # as somebody would type it

    made = workload(**{field: written})
    optimizer = made.optimizer(Net().parameters(), 0.5) if made.optimizer else None
    assert made.loss(Net(), made.train).ndim == 0
    assert optimizer is None or optimizer.param_groups[0]["lr"] == 0.5


def test_a_module_of_the_users_own_is_a_loss_if_it_takes_model_and_batch() -> None:
    class Own(nn.Module):
        def forward(self, model: nn.Module, batch: Any) -> Any:
            return loss(model, batch)

    assert workload(loss=Own()).loss(Net(), workload().train) > 0
