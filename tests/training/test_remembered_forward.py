"""RememberedForward: one pass for several metrics, and only where a second would repeat it."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.reference.small_workloads import CLASSES, FEATURES, accuracy, small_workload
from torch import Tensor, nn
from torch.nn import functional

from batchlab.records.trial import Split
from batchlab.training.evaluator import Evaluator, forward_remembered
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


def test_other_arguments_are_computed_anew() -> None:
    model, x = Counting(), torch.zeros(2)
    outputs = []

    with forward_remembered(model) as another_asks:
        for given, named in ((x, {}), (x, {}), (x + 0, {}), (x, {}), (x, {"times": 3})):
            another_asks()
            outputs.append(float(model(given, **named)[0]))

    assert outputs == [1, 1, 1, 1, 3]
    assert model.calls == 4


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


def test_a_dict_of_tensors_is_remembered() -> None:
    class Named(Counting):
        def forward(self, x: Tensor, *, times: int = 1) -> Any:
            return {"logits": super().forward(x), "loss": None}

    model, x = Named(), torch.zeros(2)

    with forward_remembered(model) as another_asks:
        first = model(x)
        another_asks()
        assert model(x) is first


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


def test_modes_of_single_modules_count() -> None:
    model = Counting()

    by_two_metrics(model, torch.zeros(2), lambda: model.inner.train(not model.inner.training))

    assert model.calls == 2


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


@pytest.mark.slow
def test_a_transform_over_weights_is_computed() -> None:
    model, x = nn.Linear(2, 1, bias=False), torch.ones(1, 2)

    def loss(weights: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(model, weights, (x,)).sum()

    with forward_remembered(model):
        slopes = torch.func.vmap(torch.func.grad(loss))({"weight": torch.ones(3, 1, 2)})

    assert torch.equal(slopes["weight"], torch.ones(3, 1, 2))


def test_a_forward_of_the_module_itself_comes_back() -> None:
    """As torch.compile and others put it there."""
    model, x = Counting(), torch.zeros(2)

    def own(x: Tensor) -> Tensor:
        return x + 7

    model.forward = own  # type: ignore[assignment]

    with forward_remembered(model):
        assert model(x).tolist() == [7, 7]

    assert model.forward is own


def test_a_scripted_model_is_evaluated_as_it_is() -> None:
    with warnings.catch_warnings(action="ignore"):  # newer releases of PyTorch advise against it
        scripted = torch.jit.trace(nn.Linear(FEATURES, CLASSES), torch.zeros(2, FEATURES))
    workload = replace(small_workload(), metrics={"accuracy": accuracy})

    assert values(workload, scripted)["loss"] is not None


# Metrics that look at a model in several states


def test_the_spread_of_dropout_samples_is_what_it_is() -> None:
    def spread(model: nn.Module, batch: Any) -> Tensor:
        model.train()
        samples = torch.stack([model(batch[0]) for _ in range(20)])
        model.eval()
        return samples.std(0).mean() * len(batch[0])

    torch.manual_seed(0)
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(FEATURES, CLASSES))
    workload = replace(small_workload(), metrics={"spread": Metric(sum=spread, better="lower")})

    found = values(workload, model)["spread"]

    x, labels = workload.validation
    assert found == pytest.approx(float(spread(model, (x, labels)).detach()) / len(x), rel=0.1)


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


def test_a_generator_of_its_own_draws_for_each_sample_of_a_metric() -> None:
    generator = torch.Generator().manual_seed(0)
    model = Stochastic(lambda: float(torch.randn((), generator=generator)))

    def spread(model: nn.Module, batch: Any) -> Tensor:
        return torch.stack([model(batch[0]) for _ in range(9)]).std(0).sum()

    metrics = {"spread": Metric(sum=spread, better="lower")}
    found = values(replace(small_workload(), loss=spread, metrics=metrics), model)["spread"]

    assert found is not None
    assert found > 0.3


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
