"""Stopped and taken up again, a run ends as one that was not: whatever there is to be lost."""

import random
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.reference.data_kinds import Streamed, workload_of
from tests.reference.engine_run import assert_a_stop_leaves_no_trace
from tests.reference.small_workloads import (
    Everything,
    cross_entropy,
    everything_workload,
    plateau,
    points,
    scaled_sgd,
    scaled_step,
    small_mlp,
    small_trial,
    small_workload,
    warm_up,
)
from torch import nn

from batchlab.errors import StoreError
from batchlab.random_state import seed_everything
from batchlab.records.run import RunLength
from batchlab.training.checkpoint import (
    Progress,
    load_checkpoint,
    load_weights,
    peek_checkpoint,
    save_checkpoint,
)
from batchlab.workload.definition import Workload
from batchlab.workload.precision import with_precision


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


def made(name: str = "Adam", *, model: nn.Module | None = None) -> dict[str, Any]:
    """A model and its optimizer, by their names in a checkpoint."""
    torch.manual_seed(0)
    model = Everything() if model is None else model
    optimizer = OPTIMIZERS[name](list(model.parameters()), lr=0.01)
    return {"model": model, "optimizer": optimizer}


def train(model: nn.Module, optimizer: torch.optim.Optimizer, *, steps: int) -> None:
    """Take steps that draw from all random streams."""
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
    seen = {"samples": 150, "train_s": 0.1 + 0.2, "eval_s": 1e-300, "loss_sum": 1 / 3}
    made_by = {"versions": (("torch", "2.13.0"),), "engine": "plain", "threads": 1}
    return Progress(step=step, **seen, **made_by, resumed_from_steps=(1, 4))


@pytest.fixture
def written(tmp_path):
    """A checkpoint after five steps of Adam."""
    trained = made()
    train(**trained, steps=5)
    path = tmp_path / "trial.safetensors"
    save_checkpoint(path, kept=trained, progress=progress())
    return path


def assert_same_state(one: Any, other: Any) -> None:
    """Equal values of equal types, all the way down; NumPy's numbers become plain ones."""
    one, other = (each.item() if isinstance(each, np.generic) else each for each in (one, other))
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert_same_state([*one.items()], [(key, other[key]) for key in one])
        assert len(one) == len(other)
    elif isinstance(one, (list, tuple)):
        for entry, twin in zip(one, other, strict=True):
            assert_same_state(entry, twin)
    else:
        assert one == other


@pytest.mark.parametrize(
    ("name", "steps_before"), [*((name, 4) for name in OPTIMIZERS), ("Adam", 0), ("momentum", 0)]
)
def test_a_training_goes_on_as_if_there_had_been_no_break(name, steps_before, tmp_path):
    whole = made(name)
    seed_everything(3)
    train(**whole, steps=steps_before)
    save_checkpoint(tmp_path / "c", kept=whole, progress=progress())
    train(**whole, steps=4)

    resumed = made(name)
    seed_everything(99)
    load_checkpoint(tmp_path / "c", kept=resumed)
    train(**resumed, steps=4)

    assert_same_state(resumed["model"].state_dict(), whole["model"].state_dict())
    found, expected = (each["optimizer"].state_dict() for each in (resumed, whole))
    assert_same_state(found, expected)
    assert torch.equal(resumed["model"].centre, whole["model"].centre)


def test_progress_comes_back_to_the_last_bit_and_weights_as_the_model_would_save_them(written):
    resumed = made()

    assert load_checkpoint(written, kept=resumed) == peek_checkpoint(written) == progress()
    assert resumed["model"].second.weight is resumed["model"].first.weight
    # Tied weights are there twice, and the buffer that no state dict has is not.
    assert_same_state(load_weights(written)[0], dict(resumed["model"].state_dict()))

    half, other = (written.with_name(f"{name}.tmp") for name in (written.name, "other.safetensors"))
    for path in (half, other):
        path.write_bytes(b"half, after a kill")
    save_checkpoint(written, kept=made(), progress=progress(9))
    assert (half.exists(), other.exists()) == (False, True)
    assert peek_checkpoint(written) == progress(9)


# ---- files that are refused


@pytest.mark.parametrize("damage", [
    *(0, 1, 7, 8, 100, 3000, -1), *(None, {"format": "pt"}, {"batchlab": "{}"}),
])  # fmt: skip
def test_a_damaged_file_or_another_ones_is_refused(written, damage):
    if isinstance(damage, int):
        written.write_bytes(written.read_bytes()[:damage])
    else:
        save_file({"weight": torch.zeros(3)}, written, metadata=damage)

    assert peek_checkpoint(written) is None
    with pytest.raises(StoreError, match=r"this checkpoint cannot be used .*delete it to start"):
        load_checkpoint(written, kept=made())
    with pytest.raises(StoreError, match="cannot be read"):
        load_weights(written)


def in_groups(model: nn.Module) -> dict[str, Any]:
    groups = [{"params": [parameter]} for parameter in model.parameters()]
    return {"model": model, "optimizer": torch.optim.Adam(groups, lr=0.1)}


@pytest.mark.parametrize(("saved", "loaded"), [
    (made(), made(model=small_mlp())),
    (made(), made(model=Everything().double())),
    (made(), made(model=nn.Sequential(Everything()))),
    (made(), in_groups(Everything())),
    (made(model=nn.Linear(1, 1)), made(model=nn.Linear(5, 3))),  # it could be stretched
])  # fmt: skip
def test_the_checkpoint_of_another_model_or_optimizer_is_refused(saved, loaded, tmp_path):
    save_checkpoint(tmp_path / "c", kept=saved, progress=progress())

    with pytest.raises(StoreError, match=r"this checkpoint cannot be used .*delete it to start"):
        load_checkpoint(tmp_path / "c", kept=loaded)


# ---- runs that are stopped


def stream() -> Workload:
    return workload_of({"train": Streamed(*points(40)), "validation": points(20, seed=1)})


# Dropout, BatchNorm, Adam, tied weights, a buffer in no state dict, a rate's shape, noise.
EVERYTHING = {"batch_size": 6, "learning_rate": 0.02, "seed": 4, "horizon_steps": 28}
SCHEDULED = partial(small_workload, optimizer=torch.optim.Adam)
OF_20, IN_PIECES = {"horizon_steps": 20}, {"micro_batch_size": 4}
SCALED = partial(small_workload, optimizer=scaled_sgd, step=scaled_step)
HALF = partial(small_workload, precision="fp16", loss=lambda m, b: 3000 * cross_entropy(m, b))
NIGHTLY, SLOW = pytest.mark.nightly, pytest.mark.slow
# What is trained by which trial, for how many steps, and where it is stopped.
CASES = [
    pytest.param(everything_workload, EVERYTHING | IN_PIECES, 28, range(28), marks=NIGHTLY),
    pytest.param(everything_workload, EVERYTHING | IN_PIECES, 28, range(0, 28, 5), marks=SLOW),
    pytest.param(SCALED, {"learning_rate": 5e-4}, 9, (1, 3, 6), id="a gradient scaler"),
    pytest.param(
        lambda: with_precision(HALF()),
        {"learning_rate": 1e-5, "batch_size": 7},
        18,
        (8,),
        id="fp16",
    ),
    pytest.param(partial(SCHEDULED, scheduler=warm_up), OF_20, 20, (1, 5, 11), id="warm-up"),
    pytest.param(partial(SCHEDULED, scheduler=plateau), OF_20, 20, (5, 6), id="by metric"),
    pytest.param(stream, {"batch_size": 12, "micro_batch_size": 5}, 8, (3,), id="a stream"),
    pytest.param(
        partial(small_workload, model=Everything, ema=0.9), {}, 9, (5,), id="averaged buffers"
    ),
]


@pytest.mark.filterwarnings("ignore:The epoch parameter")
@pytest.mark.parametrize(("make", "fields", "n_steps", "stops"), CASES)
def test_stopped_anywhere_it_ends_as_if_it_had_not_been(make, fields, n_steps, stops, tmp_path):
    workload = make()
    trial = small_trial(workload, **({"batch_size": 8} | fields))

    assert_a_stop_leaves_no_trace(workload, trial, RunLength(steps=n_steps), tmp_path, stops=stops)

    weights, are_averaged = load_weights(tmp_path / "whole")
    assert are_averaged == (workload.ema is not None)
    assert weights.keys() == workload.model().state_dict().keys()
