"""An evaluation leaves no trace in the training."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from batchlab.training.untouched import untouched_model
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
