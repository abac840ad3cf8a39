"""The network of hoffer2017: its ghost batches and its learning rates."""

import pytest
import torch
from torch import nn

from replications.papers.f1_network import GhostBatchNorm, in_steps


@pytest.mark.parametrize(
    ("n", "cuts"), [(3, [3]), (4, [4]), (8, [4, 4]), (11, [4, 4, 3]), (13, [4, 4, 5])]
)
def test_each_part_is_normalized_on_its_own_one_after_the_other(n: int, cuts: list[int]) -> None:
    plain, ghost, x = nn.BatchNorm1d(5), GhostBatchNorm(5, 4), torch.randn(n, 5)

    normalized = ghost(x)

    assert torch.equal(normalized, torch.cat([plain(part) for part in x.split(cuts)]))
    torch.testing.assert_close(ghost.state_dict(), plain.state_dict(), rtol=0, atol=0)
    assert torch.equal(ghost.eval()(x), plain.eval()(x))


def test_the_rate_falls_at_the_epochs_of_the_paper() -> None:
    rates = [in_steps(epoch / 50) for epoch in range(51)]  # 0 to 9, 10 to 19, 20 to 29, 30 to 49

    assert rates == pytest.approx([1.0] * 10 + [0.1] * 10 + [0.01] * 10 + [0.001] * 21)
