"""Real steps before any run: what runs, whether it trains, whether it can be stopped."""

import re
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.reference.small_workloads import (
    CLASSES,
    Unpacked,
    cropped_workload,
    cross_entropy,
    everything_workload,
    plateau,
    points,
    scaled_sgd,
    scaled_step,
    small_mlp,
    small_workload,
)
from torch import Tensor, nn
from torch.utils.data import IterableDataset, TensorDataset

from batchlab.errors import WorkloadError
from batchlab.measure import loader_speed, steps_check
from batchlab.measure.steps_check import check_steps
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.workload.builtin import workload_names
from batchlab.workload.definition import Workload
from batchlab.workload.loading import load_workload
from batchlab.workload.precision import with_precision


def warnings_of(workload: Workload) -> tuple[str, ...]:
    return check_steps(PackedWorkload(workload), torch.device("cpu"))[0]


def update(optimizer: Any, loss: Tensor) -> Tensor:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def good(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
    return update(optimizer, cross_entropy(model, batch))


class Kept(nn.Module):
    """A model with an attribute that is no buffer, and a buffer."""

    state: Tensor

    def __init__(self):
        super().__init__()
        self.net = small_mlp()
        self.n = 0
        self.register_buffer("state", torch.zeros(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def step_with_buffer(model: Any, optimizer: Any, batch: Sequence[Tensor]) -> Tensor:
    scores = model(batch[0]) + model.state
    loss = update(optimizer, nn.functional.cross_entropy(scores, batch[1]))
    model.state = scores.detach().mean(0)
    return loss


SOUND: dict[str, Callable[[], Workload]] = {
    "plain": small_workload,
    "everything": everything_workload,
    "data set that draws from the global streams": cropped_workload,
    "the same with workers": lambda: cropped_workload(workers=2),
    "averaged weights": lambda: small_workload(ema=0.9),
    "bfloat16": lambda: small_workload(dtype=torch.bfloat16),
    "fp16 whose first steps overflow": lambda: with_precision(
        small_workload(precision="fp16", loss=lambda model, b: 3000 * cross_entropy(model, b))
    ),
    "rate that begins with 0": lambda: small_workload(schedule=lambda fraction: fraction),
    "step": lambda: small_workload(step=good),
    "step at a rate of 0": lambda: small_workload(step=good, schedule=lambda fraction: fraction),
    "state in a buffer": lambda: small_workload(model=Kept, step=step_with_buffer),
    "first steps left out": lambda: small_workload(optimizer=scaled_sgd, step=scaled_step),
    "patience": lambda: small_workload(patience_epochs=3),
    "plateau": lambda: small_workload(scheduler=plateau),
}


@pytest.fixture
def untimed(monkeypatch):
    """The speed of loaders is not measured."""
    monkeypatch.setattr(steps_check, "loader_limit", lambda *arguments: None)


@pytest.mark.usefixtures("untimed")
@pytest.mark.parametrize("name", SOUND)
def test_a_sound_training_gets_no_warning(name: str):
    assert warnings_of(SOUND[name]()) == ()


@pytest.mark.slow
@pytest.mark.parametrize("name", workload_names())
def test_no_built_in_workload_is_warned_of(name: str):
    assert warnings_of(load_workload(name, {}).workload) == ()


def unseeded(batch: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    noise = np.random.default_rng().normal(size=tuple(batch[0].shape)).astype("float32")
    return batch[0] + torch.from_numpy(noise), batch[1]


def counting_step(model: Any, optimizer: Any, batch: Sequence[Tensor]) -> Tensor:
    loss = cross_entropy(model, batch)
    (loss / 4).backward()
    model.n += 1
    if model.n % 4 == 0:
        optimizer.step()
        optimizer.zero_grad()
    return loss


def another_each_time() -> nn.Module:
    model = small_mlp()
    model.register_buffer(f"made_{time.perf_counter_ns()}", torch.zeros(1))
    return model


ELSEWHERE = r"stopped and resumed does not continue as before.*\(register_buffer\)"
WARNED: dict[str, tuple[Workload, str]] = {
    "of another model": (
        small_workload(optimizer=lambda _, rate: torch.optim.SGD(small_mlp().parameters(), rate)),
        "changed no weight of the model",
    ),
    "counter on the model": (small_workload(model=Kept, step=counting_step), ELSEWHERE),
    "random by itself": (small_workload(augment=unseeded), ELSEWHERE),
    "another model": (
        small_workload(model=another_each_time),
        "cannot be resumed from its checkpoint",
    ),
}


@pytest.mark.usefixtures("untimed")
@pytest.mark.parametrize("name", WARNED)
def test_what_is_odd_or_kept_where_no_checkpoint_looks_is_told(name):
    workload, text = WARNED[name]

    (warning,) = warnings_of(workload)

    assert re.search(text, warning)


class Slow(TensorDataset):
    """Examples that each take a millisecond, in every process at the same time or in turn."""

    def __init__(self, *columns: Tensor, in_turn: Path | None = None):
        super().__init__(*columns)
        self.in_turn = in_turn

    def __getitem__(self, place: int) -> Any:
        with ExitStack() as turn:
            if self.in_turn is not None:
                flock(turn.enter_context(self.in_turn.open("w")), LOCK_EX)
            time.sleep(0.001)
            return super().__getitem__(place)


class SlowStream(IterableDataset):
    def __len__(self) -> int:
        return 40

    def __iter__(self) -> Any:
        return iter(Slow(*points(40)))


def slow_loss(model: nn.Module, batch: Any) -> Tensor:
    time.sleep(0.0005 * len(batch[0]))
    return cross_entropy(model, batch)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Fetching and training are timed briefly, as on a machine of two cores."""
    monkeypatch.setattr(loader_speed, "_TIMED_S", 0.02)
    monkeypatch.setattr(loader_speed, "thread_choices", lambda device: (1, 2))


def loader_warnings(**given: Any) -> list[str]:
    warnings = warnings_of(small_workload(**given))
    return [text for text in warnings if "so a larger batch would hardly be faster" in text]


SLOW = Slow(*points(4000))
NO_HINT = "; make fetching an example faster"


@pytest.mark.slow
def test_a_loader_that_limits_the_speed_is_told_unless_the_model_does(monkeypatch):
    assert loader_warnings(train=TensorDataset(*points(40))) == []
    assert loader_warnings(train=SLOW, loss=slow_loss) == []
    (stream,) = loader_warnings(train=SlowStream())
    monkeypatch.setattr(loader_speed, "_SLOW_BATCH_S", 0.005)
    (slow,) = loader_warnings(train=SLOW)

    for warning in (stream, slow):
        delivered = re.search(r"workers=0 it delivers (\d+) examples per second", warning)
        assert delivered is not None
        assert 100 < int(delivered[1]) < 1000  # an example takes 1 ms, and more on a busy machine
        assert warning.endswith(NO_HINT)


@pytest.mark.slow
def test_what_more_workers_do_for_a_loader_that_limits_the_speed_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(loader_speed, "_TIMED_S", 0.3)
    (more,) = loader_warnings(train=SLOW)
    (in_turn,) = loader_warnings(train=Slow(*points(4000), in_turn=tmp_path / "lock"))
    (most,) = loader_warnings(train=SLOW, workers=2)

    found = re.search(
        r"with workers=2, training ran at ([\d,]+) examples per second instead of (.+)$", more
    )
    assert found is not None
    faster, now = (int(number.replace(",", "")) for number in found.groups())
    assert faster > 1.1 * now
    assert in_turn.endswith("; with workers=2, training was not faster")
    assert most.endswith(NO_HINT)


def test_the_last_batch_of_an_epoch_is_tried_as_it_will_come():
    def loss(model: nn.Module, batch: Any) -> Tensor:
        if len(batch[0]) == 8:
            raise ValueError("eight")
        return cross_entropy(model, batch)

    packed = PackedWorkload(small_workload(loss=loss, batch_size=16))
    (warning,), last_batch_runs = check_steps(packed, torch.device("cpu"))

    assert not last_batch_runs
    assert warning.startswith("a training step of 8 examples, an epoch's last batch, raised ValueE")


def no_update(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
    loss = cross_entropy(model, batch)
    loss.backward()
    return loss


class Odd(torch.optim.SGD):
    """Keeps what no checkpoint can hold."""

    def step(self, closure: Any = None):
        super().step(closure)
        self.state[self.param_groups[0]["params"][0]]["odd"] = object()


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no update": ({"step": no_update}, "`step` changed no weight of the model in 20 steps; "),
    "patience": ({"patience_epochs": 3, "validation": None}, "patience_epochs waits for the metr"),
    "plateau": ({"scheduler": plateau, "validation": None}, "its ReduceLROnPlateau waits for the"),
    "odd state": ({"optimizer": Odd}, r"workload 'small': optimizer\..*: a checkpoint can hold"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_step_that_does_not_train_is_refused_in_a_line(name):
    fields, text = REFUSED[name]

    with pytest.raises(WorkloadError, match=text) as caught:
        warnings_of(small_workload(**fields))

    assert "\n" not in str(caught.value)


def test_dear_steps_are_not_stopped_and_resumed(monkeypatch):
    taken = []

    def loss(model: nn.Module, batch: Any) -> Tensor:
        taken.append(time.sleep(0.1))
        return cross_entropy(model, batch)

    monkeypatch.setattr("batchlab.measure.steps_check._MOST_S", 0.05)
    result = check_steps(Unpacked(small_workload(loss=loss, batch_size=8)), torch.device("cpu"))

    assert result == ((), True)
    assert len(taken) == 2
