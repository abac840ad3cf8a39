"""Dry runs in processes of their own: the memory they ask for, beside what is known of it."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.reference.real_steps import real_steps_bytes
from tests.reference.small_workloads import points, small_trial, small_workload
from torch import Tensor, nn

from batchlab.measurements.dry_run import dry_run_bytes, find_buffers, record_steps
from batchlab.processes.children import run_in_child
from batchlab.processes.heap import heap_bytes
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.reason import Reason
from batchlab.words.reasons import reason_text
from batchlab.workload.definition import Workload

pytestmark = pytest.mark.skipif(heap_bytes() is None, reason="this C library does not tell")

MEGABYTE = 2**20
WIDTH = MEGABYTE // 4


def wide(model: Any = None) -> Workload:
    """Each hidden layer of an example takes a megabyte; there are two, and one of gradients."""
    return replace(
        small_workload(n=64),
        train=points(64),
        model=model
        or (lambda: nn.Sequential(nn.Linear(6, WIDTH), nn.Sigmoid(), nn.Linear(WIDTH, 3))),
        batch_size=4,
    )


def dry(workload: Workload, *sizes: int) -> list[Any]:
    packed = PackedWorkload(workload)
    trials = [small_trial(workload, batch_size=size, drop_last=True) for size in sizes]
    buffers = in_child(find_buffers, packed, trials[0], None)
    if isinstance(buffers, Reason):
        return [buffers] * len(sizes)
    found = []
    for trial in trials:
        steps = in_child(record_steps, packed, trial, buffers)
        is_known = not isinstance(steps, Reason)
        found.append(in_child(dry_run_bytes, packed, trial, steps) if is_known else steps)
    return found


def in_child(function: Any, *arguments: Any) -> Any:
    ended = run_in_child(function, *arguments, timeout_s=120)
    assert ended.status is None, ended.traceback
    return ended.value


def test_the_heap_tells_of_what_is_taken_and_given_back() -> None:
    before = heap_bytes()
    assert before is not None
    held = torch.empty(64 * MEGABYTE, dtype=torch.uint8)  # untouched
    assert heap_bytes() == pytest.approx(before + 64 * MEGABYTE, abs=MEGABYTE)
    del held
    assert heap_bytes() == pytest.approx(before, abs=MEGABYTE)


@pytest.mark.slow
def test_a_dry_run_holds_what_the_same_steps_hold_when_they_are_computed() -> None:
    sizes = (32, 64)
    for size, held in zip(sizes, dry(wide(), *sizes), strict=True):
        trial = small_trial(wide(), batch_size=size, drop_last=True)
        real = run_in_child(real_steps_bytes, PackedWorkload(wide()), trial, timeout_s=120)
        assert real.status is None, real.traceback
        assert held == pytest.approx(real.value, rel=0.1)
        # What the sigmoid made, and in its backward pass the gradients of both its sides.
        assert held >= 3 * size * MEGABYTE


def test_where_tensors_are_not_in_the_heap_nothing_is_predicted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As with another allocator in its place: the C library tells of a heap that nothing uses.
    monkeypatch.setattr("batchlab.processes.heap.heap_bytes", lambda: 0)
    workload = small_workload()
    trial = small_trial(workload, batch_size=8)

    found = dry_run_bytes(None, PackedWorkload(workload), trial, [()])  # type: ignore[arg-type]

    assert isinstance(found, Reason)
    assert "another allocator stands in for it" in reason_text(found)


class Sized(nn.Module):
    """Does more in a large batch."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.LSTM(6, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        if len(x) >= 4:
            x = x * 1.0
        scores: Tensor = self.inside(x[:, None])[0][:, 0]
        return scores


def test_a_step_that_depends_on_the_batch_size_is_told() -> None:
    (found,) = dry(wide(Sized), 8)

    assert isinstance(found, Reason)
    assert "other operations at batch size 2 than at 4" in reason_text(found)


class Recurrent(Sized):
    """An LSTM: without values PyTorch takes other operations for it."""

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.inside(x[:, None])[0][:, 0]
        return scores


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="another kernel runs it")
def test_an_operation_that_is_another_one_without_values_is_named() -> None:
    (found,) = dry(replace(wide(Recurrent), batch_size=8), 8)

    assert isinstance(found, Reason)
    assert "aten.mkldnn_rnn_layer" in reason_text(found)
    assert "other operations" not in reason_text(found)


@pytest.mark.slow
def test_a_workload_of_single_examples_is_looked_at_in_larger_batches() -> None:
    layer = lambda: nn.Sequential(  # noqa: E731
        nn.Unflatten(1, (1, 6)),
        nn.TransformerEncoderLayer(6, 2, dim_feedforward=8, dropout=0.0, batch_first=True),
        nn.Flatten(),
        nn.Linear(6, 3),
    )
    workload = replace(wide(layer), batch_size=1)

    (found,) = dry(workload, 16)

    assert isinstance(found, int)


class Skipping(nn.Module):
    """Leaves a layer out by chance, as stochastic depth does."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        if random.random() < 0.5:
            x = torch.tanh(self.first(x))
        scores: Tensor = self.last(x)
        return scores


def test_a_model_that_does_not_do_the_same_in_every_step_is_told() -> None:
    (found,) = dry(wide(Skipping), 8)

    assert isinstance(found, Reason)
    assert "training steps differ from each other" in reason_text(found)
