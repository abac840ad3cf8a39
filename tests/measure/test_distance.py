"""How far the weights have come."""

import pytest
import torch

from batchlab.measure.at_steps import distance_between


@pytest.mark.parametrize(
    ("one", "far"),
    [(torch.full((100,), 300.0, dtype=torch.float16), 3000.0), (torch.tensor([3 + 4j]), 5.0)],
    ids=["half precision is widened", "both parts of complex weights"],
)
def test_every_kind_of_number_counts(one: torch.Tensor, far: float) -> None:
    zeros = torch.zeros_like(one)

    assert distance_between([one], [zeros]) == pytest.approx(far)
    assert distance_between([one, one], [zeros, zeros]) == pytest.approx(2**0.5 * far)
