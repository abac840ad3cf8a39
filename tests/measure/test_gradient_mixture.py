from __future__ import annotations

import torch

from batchlab.measure.loss_check import is_mixture, is_multiple

ONE, OTHER = torch.tensor([1.0, 0.0, 2.0]), torch.tensor([0.0, 3.0, 1.0])


def test_a_multiple_may_have_any_factor_but_0() -> None:
    assert is_multiple(ONE, 5 * ONE)
    assert is_multiple(ONE, -0.2 * ONE)
    assert not is_multiple(ONE, ONE + 0.01 * OTHER)
    assert not is_multiple(ONE, 0 * ONE)


def test_a_mixture_has_weights_above_0_that_add_up_to_1() -> None:
    assert is_mixture([ONE, OTHER], 0.3 * ONE + 0.7 * OTHER)
    assert not is_mixture([ONE, OTHER], ONE + OTHER)
    assert not is_mixture([ONE, OTHER], 1.3 * ONE - 0.3 * OTHER)
    assert not is_mixture([ONE, OTHER], ONE)
    assert not is_mixture([ONE, OTHER], 0.5 * ONE + 0.5 * OTHER + torch.tensor([0.1, 0.1, 0.0]))
