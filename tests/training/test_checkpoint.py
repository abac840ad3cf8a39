"""Stopped and taken up again, a run ends as one that was not: whatever there is to be lost."""

from __future__ import annotations

import random
import runpy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.reference.data_kinds import Streamed, workload_of
from tests.reference.engine_run import assert_a_stop_leaves_no_trace, taken
from tests.reference.small_workloads import (
    CLASSES,
    FEATURES,
    Everything,
    adam,
    cross_entropy,
    everything_workload,
    points,
    small_mlp,
    small_trial,
    small_workload,
    warm_up,
)
from torch import Tensor, nn
from torch.optim import lr_scheduler

from batchlab.errors import StoreError, WorkloadError
from batchlab.records.run import RunLength
from batchlab.records.trial import Evaluation, Score
from batchlab.training.checkpoint import (
    Progress,
    load_checkpoint,
    load_weights,
    peek_checkpoint,
    save_checkpoint,
)
from batchlab.workload.definition import Workload


class Remembering(torch.optim.SGD):
    """Keeps more bits than its parameters have, a count, bytes, text, nothing, and a list."""

    def step(self, closure: Any = None) -> Any:
        for parameter in self.param_groups[0]["params"]:
            state = self.state[parameter]
            state["precise"] = state.get("precise", 0) + parameter.grad.double() / 3
            state["count"] = state.get("count", torch.zeros((), dtype=torch.int64)) + 1
            state["bytes"] = state["precise"].sign().to(torch.int8)
            state["kind"] = {"last": "kept", "none": None, "inf": float("-inf")}
            state["history"] = [*state.get("history", []), parameter.grad.mean().clone()]
            state["scale"] = np.float64(0.5)
            parameter.grad += 0.01 * state["precise"].to(parameter.dtype) * state["scale"]
        return super().step(closure)


OPTIMIZERS = {
    name: getattr(torch.optim, name)
    for name in (
        *("Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "ASGD", "LBFGS"),
        *("NAdam", "RAdam", "RMSprop", "Rprop", "SGD"),
    )
} | {
    "momentum": partial(torch.optim.SGD, momentum=0.9),
    "fused Adam": partial(torch.optim.Adam, fused=True),
    "amsgrad": partial(torch.optim.Adam, amsgrad=True),
    "tensor rate": lambda parameters, lr: torch.optim.Adam(parameters, lr=torch.tensor(lr)),
    "remembering": Remembering,
}

X, LABELS = points(30)


def made(name: str = "Adam", *, model: nn.Module | None = None) -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    model = Everything() if model is None else model
    return model, OPTIMIZERS[name](list(model.parameters()), lr=0.01)


def trained(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    """Steps that draw from all random streams."""
    for _ in range(steps):
        x = X + 0.1 * random.gauss(0, 1) + 0.1 * float(np.random.standard_normal())

        def closure(x: torch.Tensor = x) -> torch.Tensor:
            optimizer.zero_grad()
            loss = cross_entropy(model, (x, LABELS))
            loss.backward()
            return loss

        closure()
        optimizer.step(closure if isinstance(optimizer, torch.optim.LBFGS) else None)


def progress(step: int = 5) -> Progress:
    scores = (
        Score(split="validation", metric="loss", value=0.1),
        Score(split="validation", metric="accuracy", value=None),
    )
    evaluation = Evaluation(
        step=3,
        samples=90,
        train_s=0.1,
        eval_s=1 / 3,
        batch_loss=2.0**-1074,
        scores=scores,
        measured=(("gradient_norm", 0.1 + 0.2), ("other", None)),
    )
    return Progress(
        step=step,
        samples=150,
        train_s=0.1 + 0.2,
        eval_s=1e-300,
        loss_sum=1 / 3,
        loss_examples=60,
        evaluations=(evaluation,),
        versions=(("torch", "2.13.0"),),
        engine="plain",
        threads=1,
        resumed_from_steps=(1, 4),
    )


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A checkpoint after five steps of Adam."""
    model, optimizer = made()
    trained(model, optimizer, 5)
    path = tmp_path / "trial.safetensors"
    save_checkpoint(path, model=model, optimizer=optimizer, progress=progress())
    return path


def assert_same_state(one: Any, other: Any) -> None:
    """Equal values of equal types, all the way down."""
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same_state(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for part, twin in zip(one, other, strict=True):
            assert_same_state(part, twin)
    else:
        assert one == other


class TestGoingOn:
    @pytest.mark.parametrize("steps_before", [0, 4])
    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_it_is_as_if_there_had_been_no_break(
        self, name: str, steps_before: int, tmp_path: Path
    ) -> None:
        model, optimizer = made(name)
        random.seed(3)
        np.random.seed(3)
        trained(model, optimizer, steps_before)
        save_checkpoint(tmp_path / "c", model=model, optimizer=optimizer, progress=progress())
        trained(model, optimizer, 4)
        expected = {**model.state_dict(), "centre": model.centre}

        fresh, its_optimizer = made(name)
        torch.manual_seed(99)
        random.seed(99)
        np.random.seed(99)
        load_checkpoint(tmp_path / "c", model=fresh, optimizer=its_optimizer)
        trained(fresh, its_optimizer, 4)

        found = {**fresh.state_dict(), "centre": fresh.centre}
        assert all(torch.equal(found[key], tensor) for key, tensor in expected.items())
        for state in optimizer.state.values():
            if "scale" in state:  # NumPy's numbers become plain ones
                state["scale"] = float(state["scale"])
        for state in its_optimizer.state.values():
            if "scale" in state:
                state["scale"] = float(state["scale"])
        assert_same_state(its_optimizer.state_dict(), optimizer.state_dict())

    def test_progress_comes_back_to_the_last_bit_and_tied_weights_stay_tied(
        self, written: Path
    ) -> None:
        model, optimizer = made()

        found = load_checkpoint(written, model=model, optimizer=optimizer)

        assert found == peek_checkpoint(written) == progress()
        assert model.second.weight is model.first.weight

    @pytest.mark.parametrize("ema", [None, 0.9])
    def test_a_buffer_made_by_expand_is_taken_up_again(
        self, ema: float | None, tmp_path: Path
    ) -> None:
        class Expanded(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.net = small_mlp()
                self.register_buffer("scale", torch.full((1,), 2.0).expand(3))
                self.again = nn.Module()
                self.again.register_buffer("scale", self.scale)

            def forward(self, x: torch.Tensor) -> Any:
                return self.net(x) * self.scale

        workload = replace(small_workload(), model=Expanded, ema=ema)
        stepper, _ = taken(workload, small_trial(workload, batch_size=8), 1)
        kept: Any = {"model": stepper.model, "optimizer": stepper.optimizer, "beside": stepper.kept}

        save_checkpoint(tmp_path / "c", progress=progress(), **kept)

        assert load_checkpoint(tmp_path / "c", **kept) == progress()
        assert stepper.model.again.scale is stepper.model.scale  # type: ignore[union-attr]

    def test_a_state_that_is_not_data_is_refused(self, tmp_path: Path) -> None:
        model, optimizer = made()
        trained(model, optimizer, 1)
        optimizer.state[next(model.parameters())]["cache"] = object()

        with pytest.raises(WorkloadError, match=r"tensors, numbers, texts.*not a object"):
            save_checkpoint(tmp_path / "c", model=model, optimizer=optimizer, progress=progress())


class TestRefusal:
    @pytest.mark.parametrize("left", [0, 1, 7, 8, 100, 3000, -1])
    def test_a_truncated_file_is_refused(self, written: Path, left: int) -> None:
        written.write_bytes(written.read_bytes()[:left])

        assert peek_checkpoint(written) is None
        assert_refused(written)
        with pytest.raises(StoreError, match="cannot be read"):
            load_weights(written)

    @pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"batchlab": "{}"}])
    def test_a_safetensors_file_of_something_else_is_refused(
        self, written: Path, metadata: dict[str, str] | None
    ) -> None:
        save_file({"weight": torch.zeros(3)}, written, metadata=metadata)

        assert peek_checkpoint(written) is None
        assert_refused(written)

    @pytest.mark.parametrize(
        "model", [small_mlp(), Everything().double(), nn.Sequential(Everything())]
    )
    def test_the_checkpoint_of_another_model_is_refused(
        self, written: Path, model: nn.Module
    ) -> None:
        assert_refused(written, model=model)

    def test_a_shape_that_could_be_stretched_is_refused(self, tmp_path: Path) -> None:
        one = nn.Linear(1, 1)
        save_checkpoint(
            tmp_path / "c", model=one, optimizer=made(model=one)[1], progress=progress()
        )

        assert_refused(tmp_path / "c", model=nn.Linear(5, 3))

    def test_an_optimizer_with_other_groups_is_refused(self, written: Path) -> None:
        model, _ = made()
        groups = [{"params": [parameter]} for parameter in model.parameters()]

        with pytest.raises(StoreError, match="this checkpoint cannot be used"):
            load_checkpoint(written, model=model, optimizer=torch.optim.Adam(groups, lr=0.1))


def assert_refused(path: Path, *, model: nn.Module | None = None) -> None:
    model, optimizer = made(model=model)
    with pytest.raises(StoreError, match=r"this checkpoint cannot be used .*delete it to start"):
        load_checkpoint(path, model=model, optimizer=optimizer)


class TestWriting:
    def test_what_a_kill_left_half_written_is_cleared_away(self, written: Path) -> None:
        half = written.with_name(f"{written.name}.tmp")
        half.write_bytes(b"half")
        other = written.with_name("other.safetensors.tmp")
        other.write_bytes(b"of another trial")
        model, optimizer = made()

        save_checkpoint(written, model=model, optimizer=optimizer, progress=progress(9))

        assert not half.exists()
        assert other.exists()
        assert peek_checkpoint(written) == progress(9)


def test_the_weights_alone_are_what_the_model_itself_would_save(written: Path) -> None:
    model, _ = made()

    weights, _ = load_weights(written)

    assert weights.keys() == model.state_dict().keys()  # tied twice, without `centre`
    model.load_state_dict(weights)
    again, optimizer = made()
    load_checkpoint(written, model=again, optimizer=optimizer)
    assert_same_state(dict(again.state_dict()), dict(model.state_dict()))


class Carrying(nn.Module):
    """A recurrent network that keeps its state, of the last batch's shape, in an empty buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.RNNCell(FEATURES, 4)
        self.last = nn.Linear(4, CLASSES)
        self.state: Tensor | None
        self.register_buffer("state", None)

    def forward(self, x: Tensor) -> Tensor:
        state = self.state if self.state is not None and len(self.state) == len(x) else None
        after: Tensor = self.cell(x, state)
        if self.training:
            self.state = after.detach()
        answer: Tensor = self.last(after)
        return answer


class Halved(nn.Module):
    """Weights in 16 bits and complex ones."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(FEATURES, CLASSES, dtype=torch.bfloat16)
        self.phase = nn.Parameter(torch.ones(CLASSES, dtype=torch.complex64))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.bfloat16()).float() * self.phase.abs()


def truncated_step(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
    optimizer.zero_grad()
    loss = cross_entropy(model, batch)
    loss.backward()
    optimizer.step()
    return loss


def half_precision(parameters: Any, learning_rate: float) -> dict[str, Any]:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, growth_interval=2)
    return {"scaler": scaler, "sgd": torch.optim.SGD(parameters, lr=learning_rate, momentum=0.9)}


def scaled_step(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
    sgd, scaler = optimizer["sgd"], optimizer["scaler"]
    sgd.zero_grad()
    loss = cross_entropy(model, batch)
    scaler.scale(loss).backward()
    scaler.step(sgd)
    scaler.update()
    return loss


def gan() -> Workload:
    examples = Path(__file__).parents[2] / "examples"
    found: Workload = runpy.run_path(str(examples / "gan.py"))["workload"]()
    x = found.train[0]
    return replace(found, train=(x[:40],), validation=(x[40:60],), ema=0.9)


def small(**fields: Any) -> Workload:
    return replace(small_workload(), **fields)


def scheduled(scheduler: Callable[..., Any], every: str = "epoch") -> Callable[[], Workload]:
    return partial(small, scheduler=scheduler, scheduler_every=every, optimizer=adam)


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is trained and where it is stopped."""

    workload: Callable[[], Workload]
    steps: int
    stops: Iterable[int]
    trial: dict[str, Any]


def case(workload: Callable[[], Workload], steps: int, stops: Iterable[int], **trial: Any) -> Case:
    given = {"batch_size": 8, "horizon_steps": steps, **trial}
    return Case(workload=workload, steps=steps, stops=stops, trial=given)


# Dropout, BatchNorm, Adam, tied weights, a buffer in no state dict, a rate's shape, noise.
EVERYTHING = partial(
    case, everything_workload, 28, range(28), batch_size=6, learning_rate=0.02, seed=4
)
BY_EPOCH_AND_STEP = (1, 5, 6, 11)
CASES = {
    "everything": EVERYTHING(micro_batch_size=6),
    "everything in micro-batches": EVERYTHING(micro_batch_size=4),
    "two optimizers and an average": case(gan, 9, (1, 3, 6), horizon_steps=None),
    "a state of the model's own": case(
        partial(small, model=Carrying, step=truncated_step), 9, (1, 3, 6), horizon_steps=None
    ),
    "a gradient scaler": case(
        partial(small, optimizer=half_precision, step=scaled_step), 9, (1, 3, 6), horizon_steps=None
    ),
    "rates that warm up": case(scheduled(warm_up), 20, BY_EPOCH_AND_STEP),
    "rates by a metric": case(
        scheduled(
            lambda optimizer: lr_scheduler.ReduceLROnPlateau(
                optimizer, mode="max", factor=0.5, patience=0, threshold=0.5
            )
        ),
        20,
        BY_EPOCH_AND_STEP,
    ),
    "a stream": case(
        lambda: workload_of({"train": Streamed(*points(40)), "validation": points(20, seed=1)}),
        8,
        (3,),
        batch_size=12,
        micro_batch_size=5,
        horizon_steps=None,
    ),
}
MARKS = {"everything": pytest.mark.nightly, "everything in micro-batches": pytest.mark.slow}


@pytest.mark.filterwarnings("ignore:The epoch parameter")
@pytest.mark.parametrize("name", [pytest.param(k, marks=MARKS.get(k, ())) for k in CASES])
def test_stopped_anywhere_it_ends_as_if_it_had_not_been(name: str, tmp_path: Path) -> None:
    given = CASES[name]
    workload = given.workload()

    whole = assert_a_stop_leaves_no_trace(
        workload,
        small_trial(workload, **given.trial),
        RunLength(steps=given.steps),
        tmp_path,
        stops=given.stops,
    )

    assert any(each.startswith("averaged.") for each in whole.tensors) == (workload.ema is not None)


def test_an_average_in_more_digits_is_taken_up_and_handed_out(tmp_path: Path) -> None:
    workload = small(model=Halved, ema=0.99)
    trial = small_trial(workload, batch_size=8, horizon_steps=12)

    whole = assert_a_stop_leaves_no_trace(
        workload, trial, RunLength(steps=12), tmp_path, stops=(5,)
    )

    kept = [part for name, part in whole.tensors.items() if name.startswith("averaged.")]
    assert {part.dtype for part in kept} == {torch.float32, torch.complex64}
    assert {name: part.dtype for name, part in load_weights(tmp_path / "whole")[0].items()} == {
        name: part.dtype for name, part in Halved().state_dict().items()
    }
