"""mnist-softmax: the convex one, from zero."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from batchlab.errors import WorkloadError
from batchlab.workload.builtin.mnist_softmax import workload


@pytest.mark.parametrize("seed", [0, 1])
def test_every_seed_starts_at_zero_where_all_digits_are_as_likely(seed: int) -> None:
    given = workload()
    torch.manual_seed(seed)

    loss = given.loss(given.model(), tuple(part[:50] for part in given.train))

    assert loss.item() == pytest.approx(math.log(10), rel=1e-6)


def test_the_settings_reach_optimizer_and_data() -> None:
    given = workload(train="all", momentum=0.5, weight_decay=0.1)

    assert given.optimizer is not None
    optimizer = given.optimizer(given.model().parameters(), 0.1)

    assert given.validation is None
    assert len(given.train[0]) == 60_000
    assert optimizer.defaults.items() >= {"momentum": 0.5, "weight_decay": 0.1}.items()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"input": "raw"}, "mnist-softmax: input='raw' .* unit, standardized"),
        ({"momentum": 1}, "mnist-softmax: momentum=1; expected"),
        ({"weight_decay": -1}, "mnist-softmax: weight_decay=-1; expected"),
    ],
)
def test_an_impossible_setting_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        workload(**settings)
