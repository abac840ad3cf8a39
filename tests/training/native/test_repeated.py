"""What two metrics ask of the model alike is computed once."""

import torch
from torch import Tensor, nn

from batchlab.training.native.capture import captured


def test_a_call_that_repeats_another_is_answered_by_it() -> None:
    model = nn.Linear(3, 2)
    fixed = [model.weight.detach(), model.bias.detach()]

    def asked_twice(given: list[Tensor], batch: list[Tensor]) -> list[Tensor]:
        first, again = (nn.functional.linear(batch[0], *given).relu() for _ in range(2))
        return [first.sum(), again.sum(), again.mean()]

    tape = captured(asked_twice, fixed, [torch.zeros(10, 3)])

    assert tape.results[0] == tape.results[1] != tape.results[2]


def test_calls_that_differ_in_a_number_are_two() -> None:
    tape = captured(lambda given, batch: [batch[0] + 1, batch[0] + 2], [], [torch.zeros(10, 3)])

    assert tape.results[0] != tape.results[1]
