"""NativeStepper: the steps of the plain one but for rounding, however they are cut into calls."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from tests.reference.small_workloads import cosine, small_mlp, small_trial, small_workload

from batchlab.records.trial import Trial
from batchlab.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from batchlab.training.native.graph import RefusedError
from batchlab.training.native.program import native_build
from batchlab.training.native.trainer import NativeStepper, self_check
from batchlab.training.stepper import Stepper
from batchlab.workload.definition import Workload

pytestmark = pytest.mark.usefixtures("quickly")

OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "decay": partial(torch.optim.SGD, weight_decay=0.05),
    "momentum": partial(torch.optim.SGD, momentum=0.9, weight_decay=0.01),
    "dampening": partial(torch.optim.SGD, momentum=0.9, dampening=0.3),
    "nesterov": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
    "adam": partial(torch.optim.Adam, weight_decay=0.02, betas=(0.8, 0.95)),
    "adamw": partial(torch.optim.AdamW, weight_decay=0.1, eps=1e-4),
}


def workload_with(name: str, **fields: object) -> Workload:
    make = OPTIMIZERS[name]
    found = small_workload(n=50, optimizer=lambda parameters, rate: make(parameters, lr=rate))
    return replace(found, **fields)  # type: ignore[arg-type]


def both(
    workload: Workload, trial: Trial, folder: Path, n_steps: int, cuts: tuple[int, ...] = ()
) -> tuple[Stepper, list[float], NativeStepper, list[float]]:
    plain = Stepper(workload, trial, torch.device("cpu"))
    expected, _ = plain.steps(plain.stream(0), n_steps, first_step=0)
    native = NativeStepper(workload, trial, native_build(workload, folder=folder))
    losses: list[float] = []
    for first, last in zip((0, *cuts), (*cuts, n_steps), strict=True):
        losses += native.steps(native.stream(first), last - first, first_step=first)[0]
    return plain, expected, native, losses


def keep(stepper: Stepper, path: Path, *, step: int) -> None:
    progress = Progress(versions=(), engine="native", threads=1, step=step)
    model, optimizer = stepper.model, stepper.optimizer
    save_checkpoint(path, progress=progress, model=model, optimizer=optimizer, beside=stepper.kept)


def take_up(stepper: Stepper, path: Path) -> None:
    model, optimizer = stepper.model, stepper.optimizer
    load_checkpoint(path, model=model, optimizer=optimizer, beside=stepper.kept)


def assert_alike(one: Stepper, other: Stepper) -> None:
    for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=2e-4, atol=2e-6)
    for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True):
        kept, other_kept = one.optimizer.state[a], other.optimizer.state[b]
        assert set(kept) == set(other_kept)
        for name, value in kept.items():
            torch.testing.assert_close(value, other_kept[name], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("batch_size", [1, 7, 20, 50])
def test_every_optimizer_takes_pytorchs_steps(name: str, batch_size: int, libraries: Path) -> None:
    workload = workload_with(name)
    trial = small_trial(workload, batch_size=batch_size, seed=3)

    plain, expected, native, losses = both(workload, trial, libraries, 17)

    assert losses == pytest.approx(expected, rel=1e-4)
    assert_alike(native, plain)


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_a_batch_in_pieces_is_the_whole_batch(name: str, libraries: Path) -> None:
    workload = workload_with(name)
    trial = small_trial(workload, batch_size=20, micro_batch_size=8)

    plain, expected, native, losses = both(workload, trial, libraries, 6)

    assert losses == pytest.approx(expected, rel=1e-4)
    assert_alike(native, plain)


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_the_gradient_is_clipped(name: str, libraries: Path) -> None:
    workload = workload_with(name, clip_norm=0.1)
    trial = small_trial(workload, batch_size=10)

    plain, expected, native, losses = both(workload, trial, libraries, 8)

    assert losses == pytest.approx(expected, rel=1e-4)
    assert_alike(native, plain)


def test_the_rate_follows_its_schedule(libraries: Path) -> None:
    workload = workload_with("momentum", schedule=cosine)
    trial = small_trial(workload, batch_size=10, horizon_steps=20)

    plain, expected, native, losses = both(workload, trial, libraries, 20, cuts=(3, 11))

    assert losses == pytest.approx(expected, rel=1e-4)
    assert_alike(native, plain)


def test_averaged_weights_are_averaged_after_each_step(libraries: Path) -> None:
    workload = workload_with("sgd", ema=0.9)
    trial = small_trial(workload, batch_size=10)

    plain, _, native, _ = both(workload, trial, libraries, 9)

    assert plain.averaged is not None
    assert native.averaged is not None
    for name, part in plain.averaged.state_dict().items():
        torch.testing.assert_close(native.averaged.state_dict()[name], part, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_steps_are_the_same_however_they_are_cut_into_calls(name: str, libraries: Path) -> None:
    workload = workload_with(name)
    trial = small_trial(workload, batch_size=7, seed=1)

    _, _, whole, losses = both(workload, trial, libraries, 20)
    _, _, parts, cut_losses = both(workload, trial, libraries, 20, cuts=(1, 6, 8, 19))

    assert cut_losses == losses
    for one, other in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_a_run_taken_up_from_its_checkpoint_is_the_same_bit_for_bit(
    name: str, libraries: Path, tmp_path: Path
) -> None:
    workload = workload_with(name)
    workload = replace(workload, model=partial(small_mlp, dropout=0.2), schedule=cosine)
    trial = small_trial(workload, batch_size=7, horizon_steps=30)
    build = native_build(workload, folder=libraries)
    whole = NativeStepper(workload, trial, build)
    losses, _ = whole.steps(whole.stream(0), 20, first_step=0)

    begun, goes_on = (NativeStepper(workload, trial, build) for _ in range(2))
    begun.steps(begun.stream(0), 9, first_step=0)
    keep(begun, tmp_path / "kept", step=9)
    take_up(goes_on, tmp_path / "kept")
    later, _ = goes_on.steps(goes_on.stream(9), 11, first_step=9)

    assert later == losses[9:]
    for one, other in zip(whole.model.parameters(), goes_on.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_plain_and_native_read_one_anothers_checkpoints(libraries: Path, tmp_path: Path) -> None:
    workload = workload_with("adam")
    trial = small_trial(workload, batch_size=7)
    build = native_build(workload, folder=libraries)
    begun = NativeStepper(workload, trial, build)
    begun.steps(begun.stream(0), 9, first_step=0)
    keep(begun, tmp_path / "kept", step=9)

    plain = Stepper(workload, trial, torch.device("cpu"))
    take_up(plain, tmp_path / "kept")
    expected, _ = plain.steps(plain.stream(9), 5, first_step=9)
    found, _ = begun.steps(begun.stream(9), 5, first_step=9)

    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_a_batch_of_several_tiles_is_summed_over_all(name: str, libraries: Path) -> None:
    workload = replace(workload_with(name), train=small_workload(n=1001).train)
    trial = small_trial(workload, batch_size=1000)

    plain, expected, native, losses = both(workload, trial, libraries, 5)

    assert losses == pytest.approx(expected, rel=1e-4)
    assert_alike(native, plain)


def test_two_libraries_in_one_process_are_two(libraries: Path) -> None:
    one, other = workload_with("sgd"), workload_with("adam")
    trial = small_trial(one, batch_size=5)

    first = native_build(one, folder=libraries)
    second = native_build(other, folder=libraries)

    self_check(first, one, [trial])
    self_check(second, other, [trial])


def test_a_build_of_another_optimizer_does_not_pass_its_check(libraries: Path) -> None:
    one, other = workload_with("momentum"), workload_with("nesterov")
    trial = small_trial(one, batch_size=5)

    with pytest.raises(RefusedError, match="native_differs"):
        self_check(native_build(other, folder=libraries), one, [trial])
