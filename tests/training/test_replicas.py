"""One trial on two devices is that of one, but for rounding; whatever happens to either of them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from tests.reference.local_engine import ask, plan_on
from tests.reference.made_up_study import made_up_summary
from tests.reference.small_workloads import cross_entropy, points, small_trial, small_workload
from torch import Tensor, nn
from torch.utils.data import Dataset

from batchlab import sweep
from batchlab.errors import UsageError
from batchlab.measure.step_time import measure_step_time
from batchlab.processes.children import Ended, run_in_child
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.run import RunLength, RunRequest
from batchlab.records.trial import Status, Trial, TrialRecord
from batchlab.runs.contract import run_all
from batchlab.runs.process_engine import ProcessEngine
from batchlab.runs.workers import LocalWorkers
from batchlab.store.store import Store
from batchlab.training.checkpoint import load_weights
from batchlab.words.reasons import reason_text
from batchlab.workload.definition import Workload

pytestmark = pytest.mark.slow

STEPS = 50


def trial_of(workload: Workload, **named: Any) -> Trial:
    return replace(small_trial(workload, batch_size=8), **named)


Ran = tuple[TrialRecord, dict[str, Tensor]]
Train = Callable[..., Ran]


@pytest.fixture
def train(tmp_path: Path) -> Iterator[Train]:
    """Train a workload on so many devices; the record and the weights at its end."""
    stores: dict[str, Store] = {}

    def trained(workload: Workload, *, steps: int = STEPS, lab: str = "", **named: Any) -> Ran:
        trial = trial_of(workload, **named)
        name = lab or f"{len(stores)}"
        if name not in stores:
            stores[name] = Store(tmp_path / f"{name}.db").__enter__()
            stores[name].put_workload(made_up_summary())
        store, plan = stores[name], plan_on(trial)
        plan = replace(plan, trainer="plain", micro_batch_sizes={8: trial.micro_batch_size})
        engine = ProcessEngine(store, plan, LocalWorkers(PackedWorkload(workload), plan))
        asked = RunRequest(trial=trial, length=RunLength(steps=steps))
        (record,) = run_all(engine, [asked])
        engine.cancel()
        weights, _ = load_weights(store.checkpoint_path(trial.trial_id))
        return record, weights

    yield trained
    for store in stores.values():
        store.close()


def apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return max((one[name] - other[name]).abs().max().item() for name in one)


class Fetched(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, n: int) -> None:
        self.x, self.y = points(n)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index], self.y[index]


class Streamed(torch.utils.data.IterableDataset[tuple[Tensor, Tensor]]):
    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(*points(self.n), strict=True)


def weighted(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
    losses = nn.functional.cross_entropy(model(batch[0]), batch[1], reduction="none")
    weights = batch[1].to(losses.dtype)
    return (losses * weights).sum() / weights.sum()


WORKLOADS: dict[str, tuple[Callable[[], Workload], dict[str, Any]]] = {
    "tensors": (lambda: small_workload(n=40), {}),
    # The last batch of an epoch has 3 examples: one on the first device, two on the other.
    "uneven": (lambda: small_workload(n=43), {}),
    # The last batch has one example: one device has none of it.
    "one left": (lambda: small_workload(n=41), {}),
    "accumulated": (lambda: small_workload(n=43), {"micro_batch_size": 4}),
    "adam": (lambda: small_workload(n=40, optimizer=torch.optim.Adam), {"learning_rate": 0.01}),
    "clipped": (lambda: replace(small_workload(n=40), clip_norm=0.1), {}),
    "averaged": (lambda: replace(small_workload(n=40), ema=0.9), {}),
    # Classes weigh 0, 1 and 2: the devices' parts of a batch weigh differently.
    "weighted": (
        lambda: replace(
            small_workload(n=40), loss=weighted, weight=lambda batch: batch[1].sum().item()
        ),
        {},
    ),
    "fetched": (lambda: replace(small_workload(n=43), train=Fetched(43)), {}),
    "streamed": (lambda: replace(small_workload(n=43), train=Streamed(43)), {}),
}


@pytest.mark.parametrize("name", WORKLOADS)
def test_after_fifty_steps_the_parameters_are_those_of_one_device(name: str, train: Train) -> None:
    make, named = WORKLOADS[name]
    workload = make()
    one, weights_of_one = train(workload, **named)
    two, weights_of_two = train(workload, world_size=2, **named)

    assert (one.status, two.status) == (Status.OK, Status.OK)
    assert two.steps == one.steps == STEPS
    assert apart(weights_of_one, weights_of_two) < 1e-6
    losses = [[seen.batch_loss for seen in record.evaluations[1:]] for record in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert two.trial.trial_id != one.trial.trial_id
    assert "batches_are_split" in [note.code for note in two.notes]


def test_a_resumed_trial_ends_with_the_very_same_numbers_dropout_too(train: Train) -> None:
    workload = small_workload(n=40, dropout=0.5)
    train(workload, world_size=2, steps=17, lab="resumed")
    resumed, weights = train(workload, world_size=2, lab="resumed")
    _, same = train(workload, world_size=2, lab="at once")

    assert resumed.resumed_from_steps == (17,)
    assert apart(weights, same) == 0.0


def test_each_device_draws_masks_of_its_own(train: Train) -> None:
    """With the same ones, two halves of a batch that are alike would have one gradient."""

    def parts(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
        return cross_entropy(model, batch)

    x, y = points(4)
    twice = (x.repeat(2, 1), y.repeat(2))
    workload = replace(small_workload(n=8, dropout=0.5), train=twice, loss=parts)
    _, one_half = train(
        replace(workload, train=(x, y)), steps=1, batch_size=4, micro_batch_size=4, n_train=4
    )
    _, both = train(workload, steps=1, world_size=2, n_train=8)

    assert apart(one_half, both) > 1e-4


class Frozen(nn.Module):
    """A parameter that only some batches reach."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.never = nn.Linear(6, 3), nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def test_a_parameter_that_no_loss_reaches_stays_without_a_gradient(train: Train) -> None:
    def decayed(parameters: Any, learning_rate: float) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=learning_rate, weight_decay=0.5)

    workload = replace(small_workload(n=40), model=Frozen, optimizer=decayed)
    _, weights = train(workload, world_size=2)

    assert torch.equal(weights["never"], torch.ones(3))  # with a gradient of 0 it would decay


def closing(parameters: Any, learning_rate: float) -> torch.optim.Optimizer:
    return torch.optim.LBFGS(parameters, lr=learning_rate)


def test_what_takes_its_steps_by_itself_is_refused(tmp_path: Path) -> None:
    by_itself = replace(small_workload(n=40), step=lambda model, optimizer, batch: 0.0)
    with pytest.raises(UsageError, match="devices 2: workload 'small' has a `step` of its own"):
        sweep(by_itself, batch_sizes=(8,), devices=2, store=tmp_path / "lab.db")
    with_closure = replace(small_workload(n=40), optimizer=closing)
    trial = trial_of(with_closure, world_size=2)
    packed = PackedWorkload(with_closure)
    ended = run_in_child(measure_step_time, packed, trial, "cpu", timeout_s=60.0)

    assert "on 2 devices: it has an optimizer with a closure" in reason_text(ended.reason)


def bad_on_the_second(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
    if torch.distributed.is_initialized() and torch.distributed.get_rank() == 1:
        raise ValueError("no such column")
    return cross_entropy(model, batch)


def test_an_error_of_one_device_alone_is_told_with_its_place(train: Train, tmp_path: Path) -> None:
    workload = replace(small_workload(n=40), loss=bad_on_the_second)
    trial = trial_of(workload, world_size=2)
    with Store(tmp_path / "lab.db") as store:
        store.put_workload(made_up_summary())
        plan = plan_on(trial)
        engine = ProcessEngine(store, plan, LocalWorkers(PackedWorkload(workload), plan))
        (record,) = run_all(engine, [ask(engine)])

    assert record.status is Status.ERROR
    assert reason_text(record.reason) == "on device 2 of 2: ValueError: no such column"


@pytest.mark.parametrize("which", ["first", "second"])
def test_a_device_that_is_killed_ends_the_trial_with_its_reason(which: str, tmp_path: Path) -> None:
    workload = small_workload(n=40)
    trial = trial_of(workload, world_size=2)
    with Store(tmp_path / "lab.db") as store:
        store.put_workload(made_up_summary())
        plan = plan_on(trial)
        workers = LocalWorkers(PackedWorkload(workload), plan)
        engine = ProcessEngine(store, plan, workers)
        engine.submit(ask(engine, steps=10**7))
        engine._start_waiting()
        while min((run.step for run in engine._running.values()), default=0) == 0:
            engine._listen(0.1)
        (first,) = [psutil.Process(child.pid) for _, child in workers._children.values()]
        (second,) = first.children()
        os.kill((first if which == "first" else second).pid, signal.SIGKILL)
        record = engine.next_finished().record
        _, alive = psutil.wait_procs([first, second], timeout=5.0)

    assert record.status is Status.KILLED
    assert record.steps > 0
    assert record.reason.code == ("ended_by_signal" if which == "first" else "device_ended")
    assert alive == []


def test_a_killed_caller_leaves_no_device_behind() -> None:
    ended = run_in_child(_starts_and_is_killed, timeout_s=60.0)
    until_s = time.monotonic() + 5.0
    pids = ended.value
    while any(map(_is_alive, pids)) and time.monotonic() < until_s:
        time.sleep(0.1)

    assert len(pids) == 2
    assert not any(map(_is_alive, pids))


def _is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _starts_and_is_killed(line: object) -> list[int]:
    """A child that starts a trial on two devices with a child of its own, and kills that."""
    from batchlab.processes.children import Child

    child = Child(_trains_for_long, PackedWorkload(small_workload(n=40)))
    assert not isinstance(child.receive(), Ended)
    pids = [child.pid, *(each.pid for each in psutil.Process(child.pid).children())]
    child.kill()
    child.wait()
    return pids


def _trains_for_long(line: Any, packed: PackedWorkload) -> None:
    from batchlab.measure.at_steps import measured_at_steps
    from batchlab.runs.workers import _train_in_child
    from batchlab.training.plain import Task

    trial = trial_of(small_workload(n=40), world_size=2)
    task = Task(
        trial=trial,
        length=RunLength(steps=10**7),
        device="cpu",
        threads=1,
        checkpoint=None,
        resume=False,
        versions=(),
    )
    _train_in_child(line, packed, measured_at_steps(()), task)


def test_steps_are_timed_on_both_devices_together() -> None:
    workload = small_workload(n=40)
    packed = PackedWorkload(workload)
    trial = trial_of(workload, world_size=2)
    ended = run_in_child(measure_step_time, packed, trial, "cpu", timeout_s=60.0)

    assert ended.value.device == "2 x cpu"
    assert ended.value.batch_size == 8
    assert ended.value.step_s > 0
