"""mnist-softmax: the convex one, from zero."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from batchlab.datasets.embedded import Mnist, load_mnist
from batchlab.errors import WorkloadError
from batchlab.workload import pieces
from batchlab.workload.builtin.mnist_softmax import workload


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch: pytest.MonkeyPatch, mnist: dict[int, Mnist]) -> None:
    """Read the database once for the file, not once for each setting."""
    monkeypatch.setattr(pieces, "load_mnist", lambda *, n_validation: mnist[n_validation])


@pytest.fixture(scope="module")
def mnist() -> dict[int, Mnist]:
    return {n: load_mnist(n_validation=n) for n in (0, 10_000)}


def scores_of(model: nn.Module) -> nn.Linear:
    (layer,) = (module for module in model.modules() if isinstance(module, nn.Linear))
    return layer


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
        ({"train": "half"}, "mnist-softmax: train='half' .* split, all"),
        ({"momentum": 1}, "mnist-softmax: momentum=1; expected"),
        ({"weight_decay": -1}, "mnist-softmax: weight_decay=-1; expected"),
    ],
)
def test_an_impossible_setting_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        workload(**settings)
