"""One trial on two devices is that of one, but for rounding; whatever happens to either of them."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from tests.reference.local_engine import ask, plan_on
from tests.reference.made_up_study import made_up_summary
from tests.reference.noise_scale import population
from tests.reference.small_workloads import cross_entropy, points, small_trial, small_workload
from torch import Tensor, nn
from torch.distributed import is_initialized
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
from batchlab.training.replicas import Replicas
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

    def trained(
        workload: Workload,
        *,
        steps: int = STEPS,
        lab: str = "",
        measures: tuple[str, ...] = (),
        **named: Any,
    ) -> Ran:
        trial = trial_of(workload, **named)
        name = lab or f"{len(stores)}"
        if name not in stores:
            stores[name] = Store(tmp_path / f"{name}.db").__enter__()
            stores[name].put_workload(made_up_summary())
        store, plan = stores[name], plan_on(trial)
        plan = replace(
            plan,
            trainer="plain",
            measures=measures,
            micro_batch_sizes={trial.batch_size: trial.micro_batch_size},
        )
        engine = ProcessEngine(store, plan, LocalWorkers(PackedWorkload(workload), plan))
        asked = RunRequest(trial=trial, length=RunLength(steps=steps))
        (record,) = run_all(engine, [asked])
        engine.cancel()
        assert record.status is Status.OK, f"{reason_text(record.reason)}\n{record.traceback}"
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


def with_closure(parameters: Any, learning_rate: float) -> torch.optim.Optimizer:
    return torch.optim.LBFGS(parameters, lr=learning_rate, max_iter=3)


WORKLOADS: dict[str, tuple[Callable[[], Workload], dict[str, Any]]] = {
    "tensors": (lambda: small_workload(n=40), {}),
    # The last batch of an epoch has 3 examples: one on the first device, two on the other.
    "uneven": (lambda: small_workload(n=43), {}),
    # The last batch has one example: one device has none of it.
    "one left": (lambda: small_workload(n=41), {}),
    "accumulated": (lambda: small_workload(n=43), {"micro_batch_size": 4}),
    "adam": (lambda: small_workload(n=40, optimizer=torch.optim.Adam), {"learning_rate": 0.01}),
    "closure": (
        lambda: small_workload(n=40, optimizer=with_closure, dtype=torch.float64),
        {"learning_rate": 0.01, "batch_size": 40, "micro_batch_size": 40},
    ),
    "clipped": (lambda: replace(small_workload(n=40), clip_norm=0.1), {}),
    "averaged": (lambda: replace(small_workload(n=40), ema=0.9), {}),
    # Classes weigh 0, 1 and 2: the devices' parts of a batch weigh differently.
    "weighted": (
        lambda: replace(
            small_workload(n=40), loss=weighted, weight=lambda batch: batch[1].sum().item()
        ),
        {},
    ),
    # The rate falls where the validation metric does not rise: the first device alone sees that.
    "follows metric": (
        lambda: replace(
            small_workload(n=40, dtype=torch.float64),
            scheduler=lambda optimizer: torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer, mode="max", patience=0, factor=0.5
            ),
        ),
        {"learning_rate": 0.5, "horizon_steps": 50},
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
    """Of eight examples that are one, two halves with the same masks would have one gradient."""
    x, y = (part[:1] for part in points(1))
    workload = small_workload(n=8, dropout=0.5)

    def weights(n: int, **named: Any) -> dict[str, Tensor]:
        alike = replace(workload, train=(x.repeat(n, 1), y.repeat(n)))
        return train(alike, steps=1, n_train=n, batch_size=n, micro_batch_size=n, **named)[1]

    assert apart(weights(4), weights(8, world_size=2)) > 1e-4


class NoisyData(Dataset[tuple[Tensor, Tensor]]):
    """Eight examples that are one, each with noise drawn as it is fetched."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return torch.randn(6), torch.tensor(0)


def test_each_device_draws_noise_of_its_own_for_what_it_fetches(train: Train) -> None:
    workload = small_workload(n=8)

    def weights(n: int, **named: Any) -> dict[str, Tensor]:
        noisy = replace(workload, train=NoisyData())
        named |= {"batch_size": n, "micro_batch_size": n}
        return train(noisy, steps=1, n_train=8, **named)[1]

    assert apart(weights(4), weights(8, world_size=2)) > 1e-4


class Carried(nn.Module):
    """Its buffer, the mean of what it saw, acts on what it learns."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(6, 3)
        self.register_buffer("seen", torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen = 0.5 * self.seen + 0.5 * x.detach().mean(0)
        return self.net(x - self.seen)


def test_resumed_each_device_has_its_own_buffers_back(train: Train) -> None:
    workload = replace(small_workload(n=40), model=Carried)
    train(workload, world_size=2, steps=17, lab="resumed")
    _, weights = train(workload, world_size=2, lab="resumed")
    _, same = train(workload, world_size=2, lab="at once")

    assert apart(weights, same) == 0.0


class Unseeded(nn.Module):
    """Its weights come from what no seed reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(6, 3)
        with torch.no_grad():
            self.net.weight.copy_(torch.tensor(list(os.urandom(18))).view(3, 6) / 256)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def weights_agree(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
    """A loss whose gradient is the weights themselves: its mean over devices tells them apart."""
    return (model.net.weight**2).sum() / 2  # type: ignore[union-attr, operator]


def test_all_devices_begin_with_the_weights_of_the_first(train: Train) -> None:
    workload = replace(small_workload(n=40), model=Unseeded, loss=weights_agree, metrics={})
    record, weights = train(workload, world_size=2, steps=1, learning_rate=1.0)

    assert record.status is Status.OK
    assert weights["net.weight"].abs().max() < 1e-6  # w - 1.0 * w


class TwoHeads(nn.Module):
    """The second head is used in the first step alone."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.second = nn.Linear(6, 3), nn.Linear(6, 3)
        self.register_buffer("steps", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return self.net(x)
        self.steps += 1
        return self.net(x) + (self.second(x) if self.steps == 1 else 0)


def test_a_parameter_that_a_step_does_not_reach_has_no_gradient_in_it(train: Train) -> None:
    workload = replace(small_workload(n=40), model=TwoHeads)
    _, one = train(workload)
    _, two = train(workload, world_size=2)

    assert apart(one, two) < 1e-6


def test_a_loss_of_another_type_than_the_weights_is_summed(train: Train) -> None:
    """The last batch has one example: one device has none of it, and no loss to tell its type."""
    workload = replace(
        small_workload(n=41, dtype=torch.float64),
        loss=lambda model, batch: cross_entropy(model, batch).float(),
    )
    record, _ = train(workload, world_size=2)

    assert record.status is Status.OK


def test_a_sparse_gradient_is_refused_in_a_line(tmp_path: Path) -> None:
    workload = replace(
        small_workload(n=40),
        model=lambda: nn.EmbeddingBag(8, 3, sparse=True),
        loss=lambda model, batch: cross_entropy(model, (batch[0].abs().long() % 8, batch[1])),
        metrics={},
    )
    packed = PackedWorkload(workload)
    trial = trial_of(workload, world_size=2)
    ended = run_in_child(measure_step_time, packed, trial, "cpu", timeout_s=60.0)

    assert "has a gradient that is sparse" in reason_text(ended.reason)


def test_who_asks_for_the_default_group_is_alone(train: Train) -> None:
    """A metric of torchmetrics gathers over it, and would wait for those that evaluate nothing."""
    alone = {"accuracy": lambda model, batch: torch.tensor(float(not is_initialized()))}
    record, _ = train(replace(small_workload(n=40), metrics=alone), world_size=2, steps=2)

    assert record.final("validation", "accuracy") == 1.0


def test_nothing_stays_where_devices_met(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(Path(tempfile.gettempdir()).glob("batchlab-meeting-*"))
    train(small_workload(n=40), world_size=2, steps=2)

    assert set(Path(tempfile.gettempdir()).glob("batchlab-meeting-*")) <= before


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


def test_what_takes_its_steps_by_itself_is_refused(tmp_path: Path) -> None:
    by_itself = replace(small_workload(n=40), step=lambda model, optimizer, batch: 0.0)
    with pytest.raises(UsageError, match="devices 2: workload 'small' has a `step` of its own"):
        sweep(by_itself, batch_sizes=(8,), devices=2, store=tmp_path / "lab.db")


def bad_on_the_second(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
    if multiprocessing.current_process().name == "device-2":
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


@pytest.mark.parametrize(("sampling", "parts"), [("reshuffle", (5, 3)), ("replacement", (2, 3, 3))])
def test_noise_of_the_devices_parts_is_unbiased(sampling: Any, parts: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    gradients = random.standard_normal((24, 3)) * (0.5, 1.0, 2.0) + (1.0, 0.0, -0.5)
    trace, grad_sq = population(gradients.tolist())
    size = sum(parts)
    replicas = Replicas.__new__(Replicas)
    replicas.n, replicas._spread = len(parts), deque()
    for _ in range(20_000):
        drawn = random.choice(gradients, size, replace=sampling == "replacement")
        means = [part.mean(0) for part in np.split(drawn, np.cumsum(parts)[:-1])]
        mean_sq = sum(n / size * (mean @ mean) for n, mean in zip(parts, means, strict=True))
        whole = drawn.mean(0)
        replicas._spread.append((size, torch.tensor([mean_sq, whole @ whole])))
    replicas._spread.append((size, torch.tensor([math.inf, 1.0])))  # one device had none of it
    trial = trial_of(small_workload(n=24), sampling=sampling)
    pairs = np.array(replicas.gradient_pairs(trial))
    off = (pairs.mean(0) - (trace, grad_sq)) / (pairs.std(0) / math.sqrt(len(pairs)))

    assert len(pairs) == 20_000
    assert abs(off).max() < 3.0
    assert len(replicas.gradient_pairs(trial)) == 20_000
    replicas.forget_gradients()
    assert replicas.gradient_pairs(trial) == []


def test_two_devices_tell_the_noise_scale_that_examples_one_by_one_have(train: Train) -> None:
    workload = replace(small_workload(n=400, dtype=torch.float64), validation=None)
    still = {"steps": 400, "measures": ("noise_scale",), "learning_rate": 1e-9}
    of_two, _ = train(workload, world_size=2, **still)
    of_examples, _ = train(workload, **still)
    scales, exact = (
        [each.measurement("noise_scale") for each in record.evaluations if each.step % 50 == 0][1:]
        for record in (of_two, of_examples)
    )

    assert len(set(scales)) == len(scales) == 8  # epochs
    assert exact == pytest.approx([exact[0]] * 8, rel=1e-4)
    assert statistics.median(filter(None, scales)) == pytest.approx(exact[0], rel=0.25)


def test_the_noise_scale_is_the_same_where_an_epoch_was_interrupted(train: Train) -> None:
    noisy = {"world_size": 2, "measures": ("noise_scale",)}
    train(small_workload(n=400), steps=20, lab="interrupted", **noisy)
    resumed, _ = train(small_workload(n=400), steps=50, lab="interrupted", **noisy)
    whole, _ = train(small_workload(n=400), steps=50, **noisy)
    scales = [each.evaluations[-1].measurement("noise_scale") for each in (resumed, whole)]

    assert resumed.resumed_from_steps == (20,)
    assert scales[0] is not None
    assert scales[0] == scales[1]
