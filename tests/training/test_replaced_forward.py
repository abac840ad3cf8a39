"""ReplacedForward: it is the model's for a while, and never a copy's."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from batchlab.training.untouched import Forward, replaced_forward


def doubled(compute: Forward) -> Forward:
    return lambda x: 2 * compute(x)


def test_the_model_has_its_own_forward_again_afterwards() -> None:
    model, x = nn.Linear(2, 1), torch.ones(1, 2)

    with replaced_forward(model, doubled):
        inside = model(x)

    assert torch.equal(inside, 2 * model(x))
    assert "forward" not in vars(model)


def test_a_deep_copy_computes_with_its_own_weights() -> None:
    model, x = nn.Linear(2, 1), torch.ones(1, 2)

    with torch.no_grad(), replaced_forward(model, doubled):
        copied = copy.deepcopy(model)
        copied.weight.fill_(3)
        copied.bias.fill_(1)
        found = copied(x)

    assert found.tolist() == [[7]]
    assert copied(x).tolist() == [[7]]


def test_a_deep_copy_keeps_a_forward_that_was_given_to_the_module() -> None:
    def own(x: Tensor) -> Tensor:
        return x + 7

    model = nn.Linear(2, 1)
    model.forward = own  # type: ignore[method-assign, assignment]

    with replaced_forward(model, doubled):
        copied = copy.deepcopy(model)

    assert copied(torch.zeros(1)).tolist() == [7]
