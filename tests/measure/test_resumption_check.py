"""ResumptionCheck: what a training keeps beside its checkpoint is noticed before any run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.reference.small_workloads import (
    cropped_workload,
    cross_entropy,
    everything_workload,
    small_mlp,
    small_workload,
)
from torch import Tensor, nn
from torch.utils.data import Dataset

from batchlab.errors import WorkloadError
from batchlab.measure.steps_check import resumption_warnings
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.workload.builtin import workload_names
from batchlab.workload.definition import Workload
from batchlab.workload.loading import load_workload

OTHERWISE = "a training that is stopped and taken up again goes another way"
NOT_REPEATABLE = "a training is not repeatable from its seed"


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    """Steps before it have loaded what the first one loads; else that one would be dear."""
    warnings(small_workload())


def warnings(workload: Workload, *, n_steps: int = 3) -> tuple[str, ...]:
    packed = PackedWorkload(workload)
    return resumption_warnings(packed, "cpu", n_examples=8, n_steps=n_steps)


class Kept(nn.Module):
    """A model with an attribute that is no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.net = small_mlp()
        self.kept: Any = None
        self.n = 0

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.net(x)
        return found


def update(optimizer: Any, loss: Tensor) -> Tensor:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def augmented_by_its_own_generator() -> Workload:
    draws = np.random.default_rng(0)

    def augment(batch: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        noise = draws.normal(size=tuple(batch[0].shape)).astype("float32")
        return batch[0] + torch.from_numpy(noise), batch[1]

    return replace(small_workload(), augment=augment)


def with_a_counter_on_the_model() -> Workload:
    def step(model: Any, optimizer: Any, batch: Sequence[Tensor]) -> Tensor:
        loss = cross_entropy(model, batch)
        (loss / 4).backward()
        model.n += 1
        if model.n % 4 == 0:
            optimizer.step()
            optimizer.zero_grad()
        return loss

    return replace(small_workload(), model=Kept, step=step)


def with_a_data_set_that_draws() -> Workload:
    class Drawing(Dataset[Any]):
        def __init__(self) -> None:
            self.draws = np.random.default_rng(0)

        def __len__(self) -> int:
            return 40

        def __getitem__(self, place: int) -> tuple[Tensor, int]:
            return torch.from_numpy(self.draws.normal(size=6).astype("float32")), place % 3

    return replace(small_workload(), train=Drawing())


SECRETS: list[Callable[[], Workload]] = [
    augmented_by_its_own_generator,
    with_a_counter_on_the_model,
    with_a_data_set_that_draws,
]


@pytest.mark.parametrize("workload", SECRETS)
def test_what_is_kept_where_no_checkpoint_looks_is_told(workload: Callable[[], Workload]) -> None:
    (told,) = warnings(workload())

    assert told.startswith(OTHERWISE)
    assert "Keep it in a buffer of the model (register_buffer)" in told


def test_a_late_first_update_is_waited_for() -> None:
    def step(model: Any, optimizer: Any, batch: Sequence[Tensor]) -> Tensor:
        loss = cross_entropy(model, batch)
        loss.backward()
        model.n += 1
        if model.n % 9 == 0:
            optimizer.step()
            optimizer.zero_grad()
        return loss

    workload = replace(small_workload(), model=Kept, step=step)

    assert warnings(workload, n_steps=3) == ()  # no weight has changed: nothing to compare
    assert warnings(workload, n_steps=8)[0].startswith(OTHERWISE)


def test_a_training_that_is_random_by_itself_is_told_apart() -> None:
    def augment(batch: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        noise = np.random.default_rng().normal(size=tuple(batch[0].shape)).astype("float32")
        return batch[0] + torch.from_numpy(noise), batch[1]

    (told,) = warnings(replace(small_workload(), augment=augment))

    assert told.startswith(NOT_REPEATABLE)


def in_a_buffer() -> Workload:
    class Carrying(Kept):
        state: Tensor | None

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("state", None)

    def step(model: Any, optimizer: Any, batch: Sequence[Tensor]) -> Tensor:
        scores = model(batch[0]) + (0 if model.state is None else model.state)
        loss = update(optimizer, nn.functional.cross_entropy(scores, batch[1]))
        model.state = scores.detach().mean(0)
        return loss

    return replace(small_workload(), model=Carrying, step=step)


def left_for_reading() -> Workload:
    def step(model: Any, optimizer: Any, batch: Sequence[Tensor]) -> Tensor:
        model.kept = update(optimizer, cross_entropy(model, batch)).detach()
        return model.kept  # type: ignore[no-any-return]

    return replace(small_workload(), model=Kept, step=step)


SOUND: dict[str, Callable[[], Workload]] = {
    "plain": small_workload,
    "dropout": lambda: small_workload(dropout=0.5),
    "everything": everything_workload,
    "data set that draws from the global streams": cropped_workload,
    "the same with workers": lambda: cropped_workload(workers=2),
    "averaged weights": lambda: replace(small_workload(), ema=0.9),
    "bfloat16": lambda: small_workload(dtype=torch.bfloat16),
    "LBFGS": lambda: small_workload(
        optimizer=lambda parts, rate: torch.optim.LBFGS(parts, lr=rate, max_iter=3)
    ),
    "state in a buffer": in_a_buffer,
    "a tensor that nothing reads": left_for_reading,
    "rate that begins with 0": lambda: replace(small_workload(), schedule=lambda part: part),
}


@pytest.mark.parametrize("name", SOUND)
def test_what_goes_on_as_it_was_is_not_warned_of(name: str) -> None:
    assert warnings(SOUND[name]()) == ()


@pytest.mark.slow
@pytest.mark.parametrize("name", workload_names())
def test_no_built_in_workload_is_warned_of(name: str) -> None:
    assert warnings(load_workload(name, {}).workload) == ()


def test_what_no_checkpoint_can_hold_is_refused() -> None:
    class Odd(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            super().step(closure)
            self.state[self.param_groups[0]["params"][0]]["odd"] = object()

    with pytest.raises(
        WorkloadError, match=r"workload 'small': optimizer\..*: a checkpoint can hold"
    ):
        warnings(small_workload(optimizer=lambda parts, rate: Odd(parts, lr=rate)))


def test_a_model_that_is_another_each_time_cannot_be_taken_up() -> None:
    def model() -> nn.Module:
        made = nn.Linear(6, 3)
        made.register_buffer(f"made_{time.perf_counter_ns()}", torch.zeros(1))
        return made

    (told,) = warnings(replace(small_workload(), model=model))

    assert told.startswith("a training that is stopped cannot be taken up again from its ")


def test_dear_steps_are_not_taken_again() -> None:
    taken = []

    def loss(model: nn.Module, batch: Any) -> Tensor:
        taken.append(time.sleep(0.6))
        return cross_entropy(model, batch)

    class Live:
        def unpack(self) -> Workload:
            return replace(small_workload(), loss=loss)

    told = resumption_warnings(Live(), "cpu", n_examples=8, n_steps=3)  # type: ignore[arg-type]

    assert (told, len(taken)) == ((), 1)
