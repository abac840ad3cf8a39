"""Real steps before any run: what runs, whether it trains, whether it can be stopped."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.reference.small_workloads import (
    Unpacked,
    cropped_workload,
    cross_entropy,
    everything_workload,
    small_mlp,
    small_workload,
)
from torch import Tensor, nn
from torch.optim import lr_scheduler
from torch.utils.data import TensorDataset

from batchlab.errors import WorkloadError
from batchlab.measure.examples import CheckResult
from batchlab.measure.steps_check import check_steps
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.workload.builtin import workload_names
from batchlab.workload.definition import Workload
from batchlab.workload.loading import load_workload

CPU = torch.device("cpu")
X = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))


def workload(model: Callable[[], nn.Module] = lambda: nn.Linear(4, 1), **fields: Any) -> Workload:
    def loss(model: nn.Module, batch: Any) -> Tensor:
        return F.mse_loss(model(batch[0]).squeeze(1), batch[1])

    data: dict[str, Any] = {"train": (X, X.sum(1)), "validation": None, "loss": loss}
    return Workload(name="sized", model=model, **({"learning_rate": 0.01} | data | fields))


def checked(workload: Workload) -> CheckResult:
    return check_steps(PackedWorkload(workload), CPU)


def told(workload: Workload) -> str:
    with pytest.raises(WorkloadError) as caught:
        checked(workload)
    return str(caught.value)


def test_a_loss_that_cannot_be_differentiated_is_refused() -> None:
    def loss(model: nn.Module, batch: Any) -> Tensor:
        out = model(batch[0]).sigmoid()
        value = out.mean()
        out.zero_()  # what the backward pass needs is gone
        return value

    with pytest.raises(WorkloadError, match=r"a training step .* modified by an inplace operation"):
        checked(workload(loss=loss))


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
    (warning,) = checked(workload(**fields)).warnings

    assert said in warning


def test_examples_that_are_slow_to_read_are_told() -> None:
    class Slow(TensorDataset):
        def __getitem__(self, place: int) -> Any:
            time.sleep(0.001)
            return super().__getitem__(place)

    slow, fast = (checked(workload(train=of(X, X.sum(1)))).warnings for of in (Slow, TensorDataset))

    assert ["so reading sets the pace" in text for text in slow] == [True]
    assert fast == ()


def test_the_last_batch_of_an_epoch_is_tried_as_it_will_come() -> None:
    def loss(model: nn.Module, batch: Any) -> Tensor:
        if len(batch[0]) == 9:
            raise ValueError("nine")
        return model(batch[0]).square().mean()

    train = (X[:25].clone(), X[:25].sum(1))

    seen = checked(workload(loss=loss, train=train, batch_size=16))

    assert not seen.last_batch_runs
    (warning,) = seen.warnings
    assert warning.startswith(
        "a training step of 9 examples, an epoch's last batch, raised ValueError"
    )


def update(optimizer: Any, loss: Tensor) -> Tensor:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def good(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
    return update(optimizer, cross_entropy(model, batch))


def no_update(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
    loss = cross_entropy(model, batch)
    loss.backward()
    return loss


def no_backward(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
    optimizer.zero_grad()
    optimizer.step()
    return cross_entropy(model, batch)


@pytest.mark.parametrize(
    "fields",
    [{"step": good}, {"step": good, "schedule": lambda fraction: fraction}],  # from a rate of 0
)
def test_a_step_that_trains_is_fine(fields: dict[str, Any]) -> None:
    assert checked(replace(small_workload(), **fields)) == CheckResult()


@pytest.mark.parametrize("step", [no_update, no_backward])
def test_a_step_that_changes_no_weight_is_refused(step: Callable[..., Any]) -> None:
    said = told(replace(small_workload(), step=step))

    assert said.startswith("workload 'small': `step` changed no weight of the model in 20 steps; ")
    assert "\n" not in said


def test_a_grad_scaler_may_leave_out_its_first_steps() -> None:
    scales: list[float] = []

    def optimizer(parameters: Any, learning_rate: float) -> Any:
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
        return {"scaler": scaler, "sgd": torch.optim.SGD(parameters, lr=learning_rate)}

    def scaled(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
        loss = cross_entropy(model, batch)
        optimizer["sgd"].zero_grad()
        scales.append(optimizer["scaler"].get_scale())
        optimizer["scaler"].scale(100 * loss).backward()  # infinite at first
        optimizer["scaler"].step(optimizer["sgd"])
        optimizer["scaler"].update()
        return loss

    live = Unpacked(replace(small_workload(optimizer=optimizer), step=scaled))

    assert check_steps(live, CPU) == CheckResult()
    assert min(scales) < scales[0]  # a step was left out


@pytest.mark.parametrize(
    ("fields", "waits"),
    [
        ({"patience_epochs": 3}, "patience_epochs"),
        (
            {"scheduler": lambda made: lr_scheduler.ReduceLROnPlateau(made, mode="max")},
            "its ReduceLROnPlateau",
        ),
    ],
)
def test_what_waits_for_validation_data_needs_some(fields: dict[str, Any], waits: str) -> None:
    workload = replace(small_workload(), validation=None, **fields)

    assert f"{waits} waits for the metric on validation data" in told(workload)
    assert checked(replace(small_workload(), **fields)) == CheckResult()


OTHERWISE = "a training that is stopped and resumed goes another way"
NOT_REPEATABLE = "a training is not repeatable from its seed"


def warnings(workload: Workload) -> list[str]:
    return [text for text in checked(workload).warnings if "sets the pace" not in text]


class Kept(nn.Module):
    """A model with an attribute that is no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.net = small_mlp()
        self.n = 0

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def augmented(generator: Callable[[], np.random.Generator]) -> Workload:
    def augment(batch: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        noise = generator().normal(size=tuple(batch[0].shape)).astype("float32")
        return batch[0] + torch.from_numpy(noise), batch[1]

    return replace(small_workload(), augment=augment)


OWN_DRAWS = np.random.default_rng(0)


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


@pytest.mark.parametrize("workload", [augmented(lambda: OWN_DRAWS), with_a_counter_on_the_model()])
def test_what_is_kept_where_no_checkpoint_looks_is_told(workload: Workload) -> None:
    (warning,) = warnings(workload)

    assert warning.startswith(OTHERWISE)
    assert "Keep it in a buffer of the model (register_buffer)" in warning


def test_a_training_that_is_random_by_itself_is_told_apart() -> None:
    (warning,) = warnings(augmented(np.random.default_rng))

    assert warning.startswith(NOT_REPEATABLE)


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


SOUND: dict[str, Callable[[], Workload]] = {
    "plain": small_workload,
    "dropout": lambda: small_workload(dropout=0.5),
    "everything": everything_workload,
    "data set that draws from the global streams": cropped_workload,
    "the same with workers": lambda: cropped_workload(workers=2),
    "averaged weights": lambda: replace(small_workload(), ema=0.9),
    "bfloat16": lambda: small_workload(dtype=torch.bfloat16),
    "state in a buffer": in_a_buffer,
    "rate that begins with 0": lambda: replace(small_workload(), schedule=lambda part: part),
}


@pytest.mark.parametrize("name", SOUND)
def test_what_goes_on_as_it_was_is_not_warned_of(name: str) -> None:
    assert warnings(SOUND[name]()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", workload_names())
def test_no_built_in_workload_is_warned_of(name: str) -> None:
    assert warnings(load_workload(name, {}).workload) == []


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

    (warning,) = warnings(replace(small_workload(), model=model))

    assert warning.startswith("a training that is stopped cannot be resumed from its ")


@pytest.mark.slow
def test_dear_steps_are_not_stopped_and_resumed() -> None:
    taken = []

    def loss(model: nn.Module, batch: Any) -> Tensor:
        taken.append(time.sleep(0.6))
        return cross_entropy(model, batch)

    live = Unpacked(replace(small_workload(), loss=loss, batch_size=8))

    assert check_steps(live, CPU) == CheckResult()
    assert len(taken) == 2
