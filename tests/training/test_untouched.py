"""An evaluation leaves no trace in the training, and asks the model no more often than it must."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.reference.engine_run import run_engine
from tests.reference.small_workloads import (
    CLASSES,
    FEATURES,
    cross_entropy,
    small_trial,
    small_workload,
)
from torch import Tensor, nn

from batchlab.records.run import AllSplits, RunLength
from batchlab.records.trial import Split
from batchlab.training.evaluator import Evaluator
from batchlab.training.untouched import (
    Forward,
    forward_remembered,
    replaced_forward,
    untouched_model,
)
from batchlab.workload.definition import Metric, Workload


class Stateful(nn.Module):
    """Every pass, an evaluation's too, goes into a buffer, which goes into the next pass."""

    def __init__(self, *, in_place: bool = False) -> None:
        super().__init__()
        self.layer = nn.Linear(FEATURES, CLASSES)
        self.register_buffer("state", torch.zeros(CLASSES))
        self.in_place = in_place

    def forward(self, x: Tensor) -> Tensor:
        output = self.layer(x) + self.state
        moved = 0.5 * output.mean(0).detach()
        if self.in_place:
            self.state.copy_(moved)
        else:
            self.state = moved
        return output


class Recurrent(nn.Module):
    """Carries the hidden state of each sequence from batch to batch; none at the beginning."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(FEATURES, 5)
        self.out = nn.Linear(5, CLASSES)
        self.register_buffer("hidden", None)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.hidden
        if hidden is None or not self.training:
            hidden = x.new_zeros(len(x), 5)
        self.hidden = self.cell(x, hidden)
        output = self.out(self.hidden)
        self.hidden = self.hidden.detach()
        return output


def trained(workload: Workload, folder: Path, all_splits: AllSplits) -> dict[str, Tensor]:
    """Parameters and buffers after three epochs."""
    length = RunLength(steps=15, all_splits=all_splits)
    trial = small_trial(workload, batch_size=8)
    run = run_engine(workload, trial, length, checkpoint=folder / all_splits)
    assert run.tensors
    return run.parameters()


@pytest.mark.parametrize("in_place", [False, True])
def test_a_model_with_a_state_trains_the_same_however_it_is_evaluated(
    in_place: bool, tmp_path: Path
) -> None:
    workload = replace(small_workload(), model=lambda: Stateful(in_place=in_place))

    rarely = trained(workload, tmp_path, "never")

    often = trained(workload, tmp_path, "on_the_way")
    assert all(torch.equal(part, often[name]) for name, part in rarely.items())


def test_a_metric_that_goes_backward_adds_nothing_to_the_gradients_of_the_training(
    tmp_path: Path,
) -> None:
    def gradient_norm(model: nn.Module, batch: Any) -> Tensor:
        cross_entropy(model, batch).backward()
        return torch.stack([part.grad.norm() for part in model.parameters()]).norm()

    def zeroing_at_its_end(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
        loss = cross_entropy(model, batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    plain = replace(small_workload(), step=zeroing_at_its_end)
    metric = Metric(sum=gradient_norm, better="lower", enable_grad=True)
    watched = replace(plain, metrics={**plain.metrics, "norm": metric})

    expected = trained(plain, tmp_path, "never")

    found = trained(watched, tmp_path, "at_end")
    assert all(torch.equal(part, found[name]) for name, part in expected.items())


class TestBuffers:
    def test_they_come_back_as_the_very_tensors(self) -> None:
        model = Stateful()
        state = model.state
        held = state.clone()

        with untouched_model(model):
            model(torch.ones(2, FEATURES))
            state.add_(7)

        assert model.state is state
        assert torch.equal(state, held)

    def test_another_shape_of_the_same_tensor_is_taken_back(self) -> None:
        model = Stateful()
        state = model.state

        with untouched_model(model):
            state.data = torch.ones(2, 9)

        assert state.tolist() == [0] * CLASSES

    def test_one_that_was_none_is_none_again_and_one_that_came_is_gone(self) -> None:
        model = Recurrent()

        with untouched_model(model):
            model(torch.ones(2, FEATURES))
            model.register_buffer("other", torch.ones(1))

        assert model.hidden is None
        assert "other" not in dict(model.named_buffers())


def test_gradients_come_back_as_the_very_tensors_after_an_exception_too() -> None:
    model = nn.Linear(2, 1)
    model(torch.ones(2)).sum().backward()
    gradient = model.weight.grad
    assert gradient is not None
    held, stream = gradient.clone(), random.getstate()

    def look() -> None:
        with untouched_model(model), torch.enable_grad():
            assert model.weight.grad is None
            model(torch.ones(2)).sum().backward()
            random.random()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        look()

    assert model.weight.grad is gradient
    assert torch.equal(gradient, held)
    assert random.getstate() == stream
    assert model.training


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


class Boxed(Counting):
    def forward(self, x: Tensor, *, times: int = 1) -> Any:
        return {"logits": super().forward(x), "cache": object()}


def test_a_metric_that_asks_twice_has_moved_the_weights_perhaps_and_gets_two_passes() -> None:
    model, x = Counting(), torch.zeros(2)

    with torch.no_grad(), forward_remembered(model):
        first = model(x).tolist()
        model.weight.data.add_(1)  # which no version counts

        assert [first, model(x).tolist()] == [[1, 1], [2, 2]]


def test_an_output_that_was_written_into_or_does_not_tell_is_computed_anew() -> None:
    x = torch.zeros(2)

    for model, use in ((Counting(), lambda output: output.mul_(100)), (Boxed(), lambda _: None)):
        with forward_remembered(model) as another_asks:
            use(model(x))
            another_asks()
            model(x)

        assert model.calls == 2, model


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
        (lambda model, x: x.add_(5), 8),
        (lambda model, x: model.weight.add_(1), 4),
        (lambda model, x: setattr(model.weight, "data", torch.ones(())), 4),
        (lambda model, x: model.shift.add_(1), 4),
        (lambda model, x: setattr(model, "shift", torch.zeros(())), 2),
        (lambda model, x: setattr(model, "scale", 3.0), 7),
        (lambda model, x: setattr(model, "inner", nn.Threshold(5, 9)), 10),
    ],
)
def test_an_input_or_model_that_is_not_as_it_was_is_computed_anew(
    change: Callable[[nn.Module, Tensor], object], second: float
) -> None:
    model, x = Counting(), torch.full((2,), 2.0)

    found = by_two_metrics(model, x, lambda: change(model, x))

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


def test_each_batch_goes_through_the_model_once_for_all_metrics_also_where_the_data_draw() -> None:
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

    assert model.calls == 3  # 20 examples in batches of 7
    assert second == first


def doubled(compute: Forward) -> Forward:
    return lambda x: 2 * compute(x)


def test_a_deep_copy_computes_with_its_own_weights() -> None:
    model, x = nn.Linear(2, 1), torch.ones(1, 2)

    with torch.no_grad(), replaced_forward(model, doubled):
        copied = copy.deepcopy(model)
        copied.weight.fill_(3)
        copied.bias.fill_(1)
        found = copied(x)

    assert found.tolist() == [[7]]
    assert copied(x).tolist() == [[7]]
    assert "forward" not in vars(model)  # it has its own again


def test_a_deep_copy_keeps_a_forward_that_was_given_to_the_module() -> None:
    def own(x: Tensor) -> Tensor:
        return x + 7

    model = nn.Linear(2, 1)
    model.forward = own  # type: ignore[method-assign, assignment]

    with replaced_forward(model, doubled):
        copied = copy.deepcopy(model)

    assert copied(torch.zeros(1)).tolist() == [7]
