"""Checkpoint: whatever an optimizer, a model or a random stream remembers comes back exactly."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.reference.engine_run import taken
from tests.reference.small_workloads import (
    Everything,
    cross_entropy,
    points,
    small_mlp,
    small_trial,
    small_workload,
)
from torch import nn

from batchlab.errors import StoreError, WorkloadError
from batchlab.records.trial import Evaluation, Score
from batchlab.training.checkpoint import (
    Progress,
    load_checkpoint,
    load_weights,
    peek_checkpoint,
    save_checkpoint,
)


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
        half = written.with_name(f"{written.name}.123.tmp")
        half.write_bytes(b"half")
        other = written.with_name("other.safetensors.123.tmp")
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
