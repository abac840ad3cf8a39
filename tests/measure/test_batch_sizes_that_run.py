from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from batchlab.errors import WorkloadError
from batchlab.measure.steps_check import (
    check_step,
    rule_of,
    sizes_in_evaluation,
    sizes_in_training,
)
from batchlab.records.study import ANY_SIZE, RunnableSizes
from batchlab.workload.definition import Workload

CPU = torch.device("cpu")
X = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))


def workload(model: Callable[[], nn.Module] = lambda: nn.Linear(4, 1), **fields: Any) -> Workload:
    def loss(model: nn.Module, batch: Any) -> Tensor:
        return F.mse_loss(model(batch[0]).squeeze(1), batch[1])

    data: dict[str, Any] = {"train": (X, X.sum(1)), "validation": None, "loss": loss}
    return Workload(name="sized", model=model, **({"learning_rate": 0.01} | data | fields))


# The rule


@pytest.mark.parametrize(
    ("runs", "rule"),
    [
        (lambda n: True, ANY_SIZE),
        (lambda n: n % 2 == 0, RunnableSizes(least=2, multiple_of=2)),
        (lambda n: n % 3 == 0, RunnableSizes(least=3, multiple_of=3)),
        (lambda n: n % 4 == 0, RunnableSizes(least=4, multiple_of=4)),
        (lambda n: n % 8 == 0, RunnableSizes(least=8, multiple_of=8)),
        (lambda n: n % 16 == 0, RunnableSizes(least=16, multiple_of=16)),
        (lambda n: n >= 2, RunnableSizes(least=2)),
        (lambda n: n >= 8, RunnableSizes(least=8)),
        (lambda n: n == 4, RunnableSizes(least=4, multiple_of=4, most=4)),
        (lambda n: n == 64, RunnableSizes(least=64, multiple_of=64, most=64)),
        (lambda n: False, None),
        (lambda n: n in (1, 2, 5), ANY_SIZE),  # no rule: the trials will tell
    ],
)
def test_a_few_tries_tell_the_rule(runs: Callable[[int], bool], rule: RunnableSizes | None) -> None:
    tried = []

    def noted(n: int) -> bool:
        tried.append(n)
        return runs(n)

    assert rule_of(noted, usual=64) == rule
    assert len(tried) <= 14


# In training and in evaluations


def test_batch_norm_needs_two_in_training_and_one_in_an_evaluation() -> None:
    def model() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))

    assert sizes_in_training(workload(model), CPU) == RunnableSizes(least=2)
    assert sizes_in_evaluation(workload(model), model(), CPU) == ANY_SIZE


def test_a_model_that_keeps_its_first_size_is_tried_anew_with_the_next() -> None:
    class Remembering(nn.Linear):
        size = 0

        def forward(self, x: Tensor) -> Tensor:
            self.size = self.size or len(x)
            return super().forward(x.view(self.size, 4))

    assert sizes_in_training(workload(lambda: Remembering(4, 1)), CPU) == ANY_SIZE


def test_the_rule_of_a_metric_is_that_of_the_evaluation() -> None:
    def of_pairs(model: nn.Module, batch: Any) -> Tensor:
        return model(batch[0]).view(-1, 2).sum(1).mean()

    sized = workload(metrics={"error": of_pairs})

    assert sizes_in_evaluation(sized, nn.Linear(4, 1), CPU) == RunnableSizes(least=2, multiple_of=2)


# A real step


def test_a_loss_that_cannot_be_differentiated_is_refused() -> None:
    def loss(model: nn.Module, batch: Any) -> Tensor:
        out = model(batch[0]).sigmoid()
        value = out.mean()
        out.zero_()  # what the backward pass needs is gone
        return value

    with pytest.raises(WorkloadError, match=r"a training step .* modified by an inplace operation"):
        check_step(workload(loss=loss), CPU, ANY_SIZE)


def of_another_model(parameters: Any, rate: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(nn.Linear(4, 1).parameters(), lr=rate)


def infinite(model: nn.Module, batch: Any) -> Tensor:
    return (model(batch[0]) * 0).sqrt().mean()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"optimizer": of_another_model}, "changed no weight of the model"),
        ({"loss": infinite}, "left weights that are not finite"),
    ],
)
def test_what_is_odd_of_a_step_is_told(fields: dict[str, Any], said: str) -> None:
    (told,) = check_step(workload(**fields), CPU, ANY_SIZE).warnings

    assert said in told


def test_the_last_batch_of_an_epoch_is_tried_as_it_will_come() -> None:
    def loss(model: nn.Module, batch: Any) -> Tensor:
        if len(batch[0]) == 9:
            raise ValueError("nine")
        return model(batch[0]).square().mean()

    train = (X[:25].clone(), X[:25].sum(1))

    seen = check_step(workload(loss=loss, train=train, batch_size=16), CPU, ANY_SIZE)

    assert not seen.last_batch_runs
    (told,) = seen.warnings
    assert told.startswith(
        "a training step of 9 examples, an epoch's last batch, raised ValueError"
    )


def test_a_model_that_keeps_the_size_of_its_batches_cannot_take_a_smaller_last_one() -> None:
    class Stateful(nn.Linear):
        state: Tensor | None = None

        def forward(self, x: Tensor) -> Tensor:
            found = super().forward(x)
            found = found if self.state is None else found + 0 * torch.stack([self.state, found])[0]
            self.state = found.detach()
            return found

    seen = check_step(workload(lambda: Stateful(4, 1), batch_size=16), CPU, ANY_SIZE)

    assert not seen.last_batch_runs  # of 40 examples it has 8
