"""AveragedWeights: PyTorch's own average, over as many examples at every batch size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.reference.engine_run import STEP_BY_STEP, run_engine
from tests.reference.own_training import loop
from tests.reference.small_workloads import (
    CLASSES,
    FEATURES,
    everything_workload,
    momentum_sgd,
    small_mlp,
    small_trial,
    small_workload,
)
from torch import Tensor, nn

from batchlab.records.run import RunLength
from batchlab.training.batching import epoch_order
from batchlab.training.checkpoint import has_averaged_weights, load_weights
from batchlab.training.evaluator import Evaluator
from batchlab.training.optimizers import AveragedWeights
from batchlab.training.stepper import Stepper

CPU = torch.device("cpu")


def steps_of(epochs: int) -> list[list[int]]:
    found = []
    for epoch in range(epochs):
        order = epoch_order(40, seed=0, epoch=epoch, sampling="reshuffle").tolist()
        found += [order[at : at + 8] for at in range(0, 40, 8)]
    return found


@pytest.mark.parametrize(("batch_size", "reference"), [(8, 8), (8, 64), (8, 2)])
def test_it_is_pytorchs_own_average_bit_for_bit(batch_size: int, reference: int) -> None:
    workload = replace(small_workload(), ema=0.9, batch_size=reference)
    trial = small_trial(workload, batch_size=batch_size)
    stepper = Stepper(workload, trial, CPU)

    stepper.steps(stepper.stream(0), 15, first_step=0)

    twin = loop(
        workload.train,
        steps_of(3),
        optimizer=momentum_sgd,
        learning_rate=0.05,
        decay=0.9 ** (batch_size / reference),
    )
    assert stepper.averaged is not None
    assert twin.average is not None
    held = stepper.averaged.state_dict()
    for name, part in twin.average.named_parameters():
        assert torch.equal(held[name], part)
        assert not torch.equal(held[name], stepper.model.get_parameter(name))
    for part, raw in zip(twin.model.parameters(), stepper.model.parameters(), strict=True):
        assert torch.equal(part, raw)


def test_the_raw_weights_come_back_from_an_error_too() -> None:
    model = small_mlp()
    averaged = AveragedWeights(model, decay=0.5)
    nn.init.ones_(model.get_parameter("0.weight"))

    with pytest.raises(ZeroDivisionError), averaged.in_place_of_raw():
        raise ZeroDivisionError

    assert bool((model.get_parameter("0.weight") == 1).all())


def test_buffers_are_averaged_and_counts_are_not() -> None:
    model = nn.BatchNorm1d(2)
    averaged = AveragedWeights(model, decay=0.75)
    model(torch.tensor([[0.0, 2.0], [4.0, 6.0]]))
    averaged.update()

    with averaged.in_place_of_raw():
        inside = {name: part.clone() for name, part in model.named_buffers()}

    assert inside["running_mean"].tolist() == pytest.approx([0.25 * 0.1 * 2, 0.25 * 0.1 * 4])
    assert int(inside["num_batches_tracked"]) == 1


def test_a_buffer_that_grows_follows_the_model() -> None:
    model = nn.Module()
    model.weight = nn.Parameter(torch.ones(1))
    model.register_buffer("state", torch.zeros(0))
    averaged = AveragedWeights(model, decay=0.9)
    model.state = torch.ones(3)

    averaged.update()

    assert averaged.state_dict()["state"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.complex64])
def test_weights_of_any_kind_are_averaged_in_enough_digits(dtype: torch.dtype) -> None:
    """A thousandth of the way to one, 2000 times."""
    model = nn.Linear(2, 2, dtype=dtype)
    nn.init.zeros_(model.weight)
    averaged = AveragedWeights(model, decay=0.999)
    nn.init.ones_(model.weight)

    for _ in range(2000):
        averaged.update()

    with averaged.in_place_of_raw():
        inside = model.weight.detach().clone()
    assert inside.dtype == dtype
    assert inside[0, 0].item() == pytest.approx(1 - 0.999**2000, rel=2**-8)
    assert bool((model.weight == 1).all())


class Halved(nn.Module):
    """Weights in 16 bits and complex ones."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(FEATURES, CLASSES, dtype=torch.bfloat16)
        self.phase = nn.Parameter(torch.ones(CLASSES, dtype=torch.complex64))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.bfloat16()).float() * self.phase.abs()


def test_an_average_in_more_digits_is_taken_up_and_handed_out(tmp_path: Path) -> None:
    workload = replace(small_workload(), model=Halved, ema=0.99)
    trial = small_trial(workload, batch_size=8, horizon_steps=12)
    length = RunLength(steps=12)
    whole = run_engine(workload, trial, length, checkpoint=tmp_path / "whole", rhythm=STEP_BY_STEP)
    cut = {"checkpoint": tmp_path / "cut", "rhythm": STEP_BY_STEP}
    run_engine(workload, trial, length, stop_after=5, **cut)  # type: ignore[arg-type]

    again = run_engine(workload, trial, length, **cut)  # type: ignore[arg-type]

    assert all(torch.equal(part, whole.tensors[name]) for name, part in again.tensors.items())
    kept = [part for name, part in again.tensors.items() if name.startswith("averaged.")]
    assert {part.dtype for part in kept} == {torch.float32, torch.complex64}
    given = load_weights(tmp_path / "cut")
    assert {name: part.dtype for name, part in given.items()} == {
        name: part.dtype for name, part in Halved().state_dict().items()
    }


def test_an_evaluation_is_of_the_average(tmp_path: Path) -> None:
    workload = replace(small_workload(), ema=0.9)
    trial = small_trial(workload, batch_size=8)

    run = run_engine(workload, trial, RunLength(steps=15), checkpoint=tmp_path / "kept")

    assert has_averaged_weights(tmp_path / "kept")
    model = small_mlp()
    model.load_state_dict(load_weights(tmp_path / "kept"))
    of_average = Evaluator(workload, CPU, batch_size=1000).scores(model, ("validation",))
    model.load_state_dict(run.parameters())
    of_raw = Evaluator(workload, CPU, batch_size=1000).scores(model, ("validation",))
    told = {score.metric: score.value for score in run.evaluations[-1].scores
            if score.split == "validation"}  # fmt: skip
    assert told == {score.metric: score.value for score in of_average}
    assert told != {score.metric: score.value for score in of_raw}


@pytest.mark.parametrize("stop_after", [1, 4, 7])
def test_a_run_taken_up_again_has_the_very_same_average(tmp_path: Path, stop_after: int) -> None:
    workload = replace(everything_workload(), ema=0.9, clip_norm=0.5)
    trial = small_trial(workload, batch_size=8, horizon_steps=12)
    length = RunLength(steps=12)
    whole = run_engine(workload, trial, length, checkpoint=tmp_path / "whole", rhythm=STEP_BY_STEP)
    cut = {"checkpoint": tmp_path / "cut", "rhythm": STEP_BY_STEP}
    run_engine(workload, trial, length, stop_after=stop_after, **cut)  # type: ignore[arg-type]

    again = run_engine(workload, trial, length, **cut)  # type: ignore[arg-type]

    assert again.tensors.keys() == whole.tensors.keys()
    assert any(name.startswith("averaged.") for name in whole.tensors)
    for name, tensor in again.tensors.items():
        assert torch.equal(tensor, whole.tensors[name]), name
    assert again.evaluations == whole.evaluations
