"""RememberedForward: one pass for several metrics, and only where a second would repeat it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.reference.small_workloads import FEATURES, small_workload
from torch import Tensor, nn
from torch.nn import functional

from batchlab.records.trial import Split
from batchlab.training.evaluator import Evaluator
from batchlab.training.untouched import forward_remembered
from batchlab.workload.definition import Metric, Workload

VALIDATION: tuple[Split, ...] = ("validation",)


class Counting(nn.Module):
    """Adds its shift, and counts how often it is asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.register_buffer("shift", torch.ones(()))
        self.scale = 1.0
        self.inner = nn.Identity()
        self.asked: list[Tensor] = []

    @property
    def calls(self) -> int:
        return len(self.asked)

    def forward(self, x: Tensor, *, times: int = 1) -> Tensor:
        self.asked.append(x)
        return (self.inner(x) * self.scale + times * self.shift + self.weight).detach()


class Stochastic(nn.Module):
    """Draws a number for each pass."""

    def __init__(self, draw: Callable[[], float]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(FEATURES))
        self.draw = draw

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.draw()


def values(workload: Workload, model: nn.Module) -> dict[str, float | None]:
    evaluator = Evaluator(workload, torch.device("cpu"), batch_size=7)
    return {score.metric: score.value for score in evaluator.scores(model, VALIDATION)}


def by_two_metrics(
    model: Counting, x: Tensor, between: Callable[[], object] = lambda: None
) -> list[float]:
    """The first number of what the model gives two metrics, with something done in between."""
    found = []
    with torch.no_grad(), forward_remembered(model) as another_asks:
        for prepare in (lambda: None, between):
            another_asks()
            prepare()
            found.append(float(model(x)[0]))
    return found


def test_each_batch_goes_through_the_model_once_for_all_metrics() -> None:
    model = Counting()
    workload = replace(
        small_workload(),
        loss=lambda model, batch: model(batch[0]).mean(),
        metrics={"accuracy": lambda model, batch: model(batch[0]).sum()},
    )

    values(workload, model)

    assert model.calls == 3  # 20 examples in batches of 7


def test_an_input_that_was_written_into_is_computed_anew() -> None:
    x = torch.zeros(2)

    assert by_two_metrics(Counting(), x, lambda: x.add_(5)) == [1, 6]


def test_an_output_that_was_written_into_is_computed_anew() -> None:
    model, x = Counting(), torch.zeros(2)

    with forward_remembered(model) as another_asks:
        model(x).mul_(100)
        another_asks()
        second = model(x)

    assert second.tolist() == [1, 1]


def test_an_output_that_does_not_tell_is_computed_anew() -> None:
    class Boxed(Counting):
        def forward(self, x: Tensor, *, times: int = 1) -> Any:
            return {"logits": super().forward(x), "cache": object()}

    model, x = Boxed(), torch.zeros(2)

    with forward_remembered(model) as another_asks:
        model(x)
        another_asks()
        model(x)

    assert model.calls == 2


def test_a_pass_that_failed_is_not_answered_by_the_one_before() -> None:
    class Failing(Counting):
        def forward(self, x: Tensor, *, times: int = 1) -> Tensor:
            if float(x[0]) == 1:
                raise ZeroDivisionError
            return super().forward(x)

    model, x = Failing(), torch.zeros(2)

    with forward_remembered(model) as another_asks:
        model(x)
        another_asks()
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                model(torch.ones(2))
            another_asks()


@pytest.mark.parametrize(
    ("change", "second"),
    [
        (lambda model: model.weight.add_(1), 4),
        (lambda model: setattr(model.weight, "data", torch.ones(())), 4),
        (lambda model: model.shift.add_(1), 4),
        (lambda model: setattr(model, "shift", torch.zeros(())), 2),
        (lambda model: setattr(model, "scale", 3.0), 7),
        (lambda model: setattr(model, "inner", nn.Threshold(5, 9)), 10),
    ],
)
def test_a_model_that_is_not_as_it_was_is_computed_anew(
    change: Callable[[nn.Module], object], second: float
) -> None:
    model, x = Counting(), torch.full((2,), 2.0)

    found = by_two_metrics(model, x, lambda: change(model))

    assert found == [3, second]


def test_a_pass_in_lower_precision_is_another() -> None:
    model, x = nn.Linear(4, 1), torch.randn(1, 4)

    with torch.no_grad(), forward_remembered(model) as another_asks:
        whole = model(x)
        another_asks()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = model(x)

    assert (whole.dtype, half.dtype) == (torch.float32, torch.bfloat16)


def test_a_hook_sees_every_pass() -> None:
    model, seen = Counting(), []

    def look(module: nn.Module, inputs: Any, output: Tensor) -> None:
        seen.append(output)

    by_two_metrics(model, torch.zeros(2), lambda: model.inner.register_forward_hook(look))

    assert len(seen) == 1


def test_a_model_that_changes_its_own_buffer_is_asked_each_time() -> None:
    class Adding(Counting):
        def forward(self, x: Tensor, *, times: int = 1) -> Tensor:
            self.shift += 1
            return super().forward(x)

    assert by_two_metrics(Adding(), torch.zeros(2)) == [2, 3]


def test_functional_calls_with_other_weights_are_computed() -> None:
    model, x = nn.Linear(2, 1, bias=False), torch.ones(1, 2)
    found = []

    with torch.no_grad(), forward_remembered(model) as another_asks:
        for value in (1.0, 2.0):
            another_asks()
            weights = {"weight": torch.full((1, 2), value)}
            found.append(float(torch.func.functional_call(model, weights, (x,))))

    assert found == [2, 4]


# Metrics that look at a model in several states


def test_sharpness_by_weights_that_are_moved_is_what_it_is() -> None:
    def rise(model: nn.Module, batch: Any) -> Tensor:
        flat = functional.cross_entropy(model(batch[0]), batch[1])
        for part in model.parameters():
            part.data.add_(0.5 * torch.arange(part.numel()).reshape(part.shape))
        risen = functional.cross_entropy(model(batch[0]), batch[1])
        for part in model.parameters():
            part.data.sub_(0.5 * torch.arange(part.numel()).reshape(part.shape))
        return (risen - flat) * len(batch[0])

    workload = replace(small_workload(), metrics={"rise": Metric(sum=rise, better="lower")})
    model = workload.model()

    found = values(workload, model)["rise"]

    x, labels = workload.validation
    assert found == pytest.approx(float(rise(model, (x, labels)).detach()) / len(x), rel=1e-4)


@pytest.mark.parametrize(
    "draw", [random.random, np.random.standard_normal, lambda: float(torch.randn(()))]
)
def test_a_model_that_draws_draws_for_every_metric(draw: Callable[[], float]) -> None:
    """The loss and another metric ask for the same batch, and get samples of their own."""

    def first(model: nn.Module, batch: Any) -> Tensor:
        return model(batch[0]).mean()

    workload = replace(
        small_workload(), loss=first, metrics={"error": Metric(sum=first, better="lower")}
    )

    found = values(workload, Stochastic(draw))

    assert found["loss"] != found["error"]


def test_passes_are_still_shared_where_the_data_draw() -> None:
    model = Counting()

    def masked(model: nn.Module, batch: Any) -> Tensor:
        return model(batch[0]).mean() * torch.rand(())

    workload = replace(
        small_workload(),
        loss=masked,
        metrics={"accuracy": lambda model, batch: model(batch[0]).mean()},
    )
    evaluator = Evaluator(workload, torch.device("cpu"), batch_size=7)
    first = evaluator.scores(model, VALIDATION)
    model.asked.clear()

    second = evaluator.scores(model, VALIDATION)

    assert model.calls == 3
    assert second == first
