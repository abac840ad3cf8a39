"""Trainers: one suite for all. Each takes the textbook's steps, or says why it can't.

Plain is the textbook bit for bit; native but for rounding. Stopped, killed or cut into calls, each
is itself bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.reference.engine_run import (
    STEP_BY_STEP,
    EngineRun,
    assert_a_stop_leaves_no_trace,
    assert_same_end,
    run_engine,
)
from tests.reference.small_workloads import (
    CLASSES,
    accuracy,
    cosine,
    cross_entropy,
    points,
    small_mlp,
    small_trial,
    small_workload,
    warm_up,
)
from tests.reference.textbook_loop import Trained, steps_of, train_by_the_textbook
from torch import Tensor, nn
from torch.optim import lr_scheduler

from batchlab.errors import WorkloadError
from batchlab.records.batch_plan import Stage
from batchlab.records.run import RunLength
from batchlab.records.trial import Status, Trial
from batchlab.training import checkpoint, plain
from batchlab.training.native.program import NativeBuild, native_build
from batchlab.training.stepper import Stepper
from batchlab.training.trainers import NATIVE, PLAIN, trainer_of
from batchlab.workload.data import epoch_order
from batchlab.workload.definition import Workload

pytestmark = pytest.mark.usefixtures("quickly")

N = 50

# Of weights, losses and scores, by how much they may be apart: a part of what they are, and of one.
BITS = {"rtol": 0.0, "atol": 0.0}
ROUNDING = {"rtol": 2e-5, "atol": 2e-6}


@dataclass(frozen=True)
class Kind:
    """One trainer."""

    name: str
    libraries: Path
    apart: dict[str, float]

    def build(self, workload: Workload) -> NativeBuild | None:
        return None if self.name == PLAIN else native_build(workload, folder=self.libraries)

    def stepper(self, workload: Workload, trial: Trial) -> Stepper:
        trainer = trainer_of(workload, trial, torch.device("cpu"), self.build(workload))
        assert (trainer.name, trainer.fast is not None) == (self.name, self.name == NATIVE)
        return trainer.stepper

    def taken(
        self, workload: Workload, trial: Trial, n_steps: int, cuts: Sequence[int] = ()
    ) -> tuple[Stepper, list[float]]:
        """A stepper after `n_steps` steps, taken in calls that begin anew at each cut."""
        stepper = self.stepper(workload, trial)
        losses: list[float] = []
        for first, last in zip((0, *cuts), (*cuts, n_steps), strict=True):
            losses += stepper.steps(stepper.stream(first), last - first, first_step=first)[0]
        return stepper, losses

    def run(self, workload: Workload, trial: Trial, length: RunLength, **fields: Any) -> EngineRun:
        run = run_engine(workload, trial, length, build=self.build(workload), **fields)
        assert run.outcome.engine == self.name
        return run

    def assert_as_the_textbook(
        self,
        workload: Workload,
        trial: Trial,
        steps: list[list[int]],
        *,
        cuts: Sequence[int] = (),
        twins: Workload | None = None,
        **textbook: Any,
    ) -> tuple[Stepper, Trained]:
        """Take the steps as the textbook does; micro-batches may add up in another order."""
        stepper, losses = self.taken(workload, trial, len(steps), cuts)
        twin = train_by_the_textbook(twins or workload, steps, seed=trial.seed, **textbook)

        is_cut = trial.micro_batch_size < max(map(len, steps))
        apart = ROUNDING if is_cut else self.apart
        torch.testing.assert_close(losses, twin.losses, **apart)
        weights, expected = list(stepper.model.parameters()), list(twin.model.parameters())
        assert (stepper.averaged is None) == (twin.average is None)
        if stepper.averaged is not None and twin.average is not None:
            names = [name for name, _ in twin.average.named_parameters()]
            weights += map(stepper.averaged.state_dict().__getitem__, names)
            expected += twin.average.parameters()
        torch.testing.assert_close(weights, expected, **apart)
        return stepper, twin


@pytest.fixture(params=[PLAIN, NATIVE])
def kind(request: pytest.FixtureRequest, libraries: Path) -> Kind:
    return Kind(request.param, libraries, BITS if request.param == PLAIN else ROUNDING)


# The n-th example is the number 2**n, so the sum of a step's losses says which ones it saw.
NUMBERED = replace(
    small_workload(optimizer=torch.optim.SGD),
    model=lambda: nn.Linear(1, 1),
    train=(2.0 ** torch.arange(20)[:, None],),
    loss=lambda model, batch: (batch[0] + 0 * model(batch[0])).mean(),
    metrics={},
    validation=None,
    test=None,
)


# Batch size, micro-batch size, and the step to begin at.
CUTS = ((1, 1, 33), (7, 7, 4), (7, 3, 1), (10, 10, 2), (11, 11, 0), (19, 19, 0), (20, 20, 1))


@pytest.mark.parametrize("sampling", ["reshuffle", "replacement"])
@pytest.mark.parametrize("drop_last", [False, True])
def test_the_same_examples_come_in_the_same_order(
    kind: Kind, sampling: str, drop_last: bool
) -> None:
    for batch_size, micro_batch_size, begins in CUTS:
        cut = {"batch_size": batch_size, "micro_batch_size": micro_batch_size}
        trial = small_trial(NUMBERED, **cut, seed=3, sampling=sampling, drop_last=drop_last)
        steps = steps_of(trial, epochs=3)[begins:]

        stepper = kind.stepper(NUMBERED, trial)
        losses, sizes = stepper.steps(stepper.stream(begins), len(steps), first_step=begins)

        assert sizes == [len(step) for step in steps]
        seen = [round(loss * size) for loss, size in zip(losses, sizes, strict=True)]
        assert seen == [sum(2**example for example in step) for step in steps]


def in_groups(parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    last = {"params": parameters[1:], "lr": 2 * lr, "weight_decay": 0.1, "momentum": 0.5}
    return torch.optim.SGD([{"params": parameters[:1]}, last], lr=lr, momentum=0.9)


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "decay": partial(torch.optim.SGD, weight_decay=0.05),
    "momentum": partial(torch.optim.SGD, momentum=0.9, weight_decay=0.01),
    "fused momentum": partial(torch.optim.SGD, momentum=0.9, weight_decay=0.01, fused=True),
    "dampening": partial(torch.optim.SGD, momentum=0.9, dampening=0.3),
    "nesterov": partial(torch.optim.SGD, momentum=0.9, nesterov=True, weight_decay=0.01),
    "groups": in_groups,
    "adam": partial(torch.optim.Adam, weight_decay=0.02, betas=(0.8, 0.95)),
    "decoupled adam": partial(torch.optim.Adam, weight_decay=0.1, decoupled_weight_decay=True),
    "fused adam": partial(torch.optim.Adam, fused=True),
    "adamw": partial(torch.optim.AdamW, weight_decay=0.1, eps=1e-4),
}


def workload_with(name: str, **fields: Any) -> Workload:
    make = OPTIMIZERS[name]
    workload = small_workload(n=N, optimizer=lambda parameters, rate: make(parameters, lr=rate))
    return replace(workload, **fields)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_takes_the_textbooks_steps(kind: Kind, name: str) -> None:
    """The last batch of an epoch is smaller at 7."""
    workload = workload_with(name)
    for batch_size, n_steps in ((1, 9), (7, 17), (N, 6)):
        trial = small_trial(workload, batch_size=batch_size, seed=3)
        kind.assert_as_the_textbook(workload, trial, steps_of(trial, epochs=6)[:n_steps])


@pytest.mark.parametrize("name", ["decay", "groups", "adam", "adamw"])
def test_a_multiple_of_the_weight_decay_trains_as_an_optimizer_with_that_decay(
    kind: Kind, name: str
) -> None:
    def multiplied(parameters: Sequence[nn.Parameter], rate: float) -> torch.optim.Optimizer:
        optimizer = OPTIMIZERS[name](parameters, lr=rate)
        for group in optimizer.param_groups:
            group["weight_decay"] = 4 * group["weight_decay"]
        return optimizer

    workload = workload_with(name)
    trial = small_trial(workload, batch_size=7, weight_decay_factor=4.0)

    twins = replace(workload, optimizer=multiplied)
    kind.assert_as_the_textbook(workload, trial, steps_of(trial, epochs=2), twins=twins)


def test_wide_layers_and_many_examples_do_so_too(kind: Kind) -> None:
    """Kernels of matrices are chosen by size; in C 1000 examples are several tiles."""
    x = torch.randn(1001, 100, generator=torch.Generator().manual_seed(0))
    workload = workload_with(
        "momentum",
        model=lambda: nn.Sequential(nn.Linear(100, 128), nn.ReLU(), nn.Linear(128, CLASSES)),
        train=(x, points(1001)[1]),
    )
    trial = small_trial(workload, batch_size=1000, seed=3)

    kind.assert_as_the_textbook(workload, trial, steps_of(trial, epochs=2))


@pytest.mark.parametrize(
    ("name", "clip_norm"),
    [("momentum", None), ("momentum", 0.3), ("momentum", 1e6), ("sgd", 0.1), ("adam", 0.1)],
)
def test_micro_batches_take_the_step_of_the_whole_batch(
    kind: Kind, name: str, clip_norm: float | None
) -> None:
    """Each counts by its examples; what is clipped is their sum."""
    workload = workload_with(name, clip_norm=clip_norm)
    for micro_batch_size in (1, 7, 19, 20):
        trial = small_trial(workload, batch_size=20, micro_batch_size=micro_batch_size)
        steps = steps_of(trial, epochs=2)[:4]
        kind.assert_as_the_textbook(workload, trial, steps, clip_norm=clip_norm)


STEPS_AN_EPOCH, N_STEPS = 5, 20


def by_cosine(optimizer: Any, n_steps: int) -> Any:
    return lr_scheduler.LambdaLR(optimizer, lambda step: float(cosine(step / n_steps)))


def one_cycle(optimizer: Any, n_steps: int) -> Any:
    """It moves the momentum too."""
    return lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=n_steps)


def restarts(optimizer: Any, n_steps: int) -> Any:
    return lr_scheduler.CosineAnnealingWarmRestarts(optimizer, n_steps // 2)


# The textbook's scheduler, and how often it goes on.
SCHEDULERS: dict[str, tuple[Callable[..., Any], str]] = {
    "a shape": (by_cosine, "step"),
    "StepLR": (lambda optimizer: lr_scheduler.StepLR(optimizer, 2, gamma=0.5), "epoch"),
    "warm-up": (warm_up, "epoch"),
    "one cycle": (one_cycle, "step"),
    "restarts": (restarts, "step"),
}


@pytest.mark.filterwarnings("ignore:The epoch parameter")
@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_rate_of_each_step_is_its_schedules(kind: Kind, name: str) -> None:
    scheduler, every = SCHEDULERS[name]
    fields = {"scheduler": scheduler, "scheduler_every": every}
    workload = workload_with("groups", **({"schedule": cosine} if name == "a shape" else fields))
    trial = small_trial(workload, batch_size=10, horizon_steps=N_STEPS)

    stepper, twin = kind.assert_as_the_textbook(
        workload,
        trial,
        steps_of(trial, epochs=4),
        cuts=(3, 11),
        scheduler=partial(scheduler, n_steps=N_STEPS) if every == "step" else scheduler,
        is_scheduled=lambda taken: (
            taken < N_STEPS if every == "step" else taken % STEPS_AN_EPOCH == 0
        ),
    )

    assert len(set(twin.rates)) > 1
    assert stepper.optimizer.param_groups[0]["lr"] == twin.rates[-1]


@pytest.mark.parametrize("reference", [10, 64, 2])
def test_the_average_of_the_weights_is_pytorchs_own(kind: Kind, reference: int) -> None:
    workload = workload_with("momentum", ema=0.9, batch_size=reference)
    trial = small_trial(workload, batch_size=10)

    decay = 0.9 ** (10 / reference)
    kind.assert_as_the_textbook(workload, trial, steps_of(trial, epochs=3), decay=decay)


# From 60 examples on 20 at half the rate, from 130 on all at a tenth: by hand, over four epochs.
STAGES = (
    Stage(from_samples=60, batch_size=20, rate_factor=0.5),
    Stage(from_samples=130, batch_size=N, rate_factor=0.1),
)
GROWN_SIZES = (10, 10, 10, 10, 10, 10, 20, 20, 20, 20, 10, 50)
GROWN_RATES = (*[1.0] * 6, *[0.5] * 4, *[0.1] * 3)
GROWN_DECAYS = [*[0.9] * 6, *[0.9**2] * 4, *[0.9**5] * 2]


@pytest.mark.parametrize("name", ["groups", "momentum", "adam"])
def test_a_batch_that_grows_while_the_rate_falls(kind: Kind, name: str) -> None:
    """The last batch of an epoch is what is left; all of them are taken as they lie."""
    workload = workload_with(name, ema=0.9, batch_size=10)
    orders = [epoch_order(N, seed=3, epoch=epoch, sampling="reshuffle") for epoch in range(3)]
    examples = torch.cat([*orders, torch.arange(N)])
    steps = [step.tolist() for step in examples.split(GROWN_SIZES)]
    for micro in (N, 7):
        trial = small_trial(workload, batch_size=10, micro_batch_size=micro, seed=3, stages=STAGES)
        kind.assert_as_the_textbook(
            workload,
            trial,
            steps,
            cuts=(5, 7),
            decay=GROWN_DECAYS,
            scheduler=lambda optimizer: lr_scheduler.LambdaLR(optimizer, GROWN_RATES.__getitem__),
        )


def test_sizes_that_add_up_to_as_many_as_the_first_size_would_are_no_such_steps(kind: Kind) -> None:
    workload = workload_with("momentum")
    stages = (Stage(from_samples=30, batch_size=15),)  # 10, 10, 10, 15 and what is left: 5
    trial = small_trial(workload, batch_size=10, micro_batch_size=15, seed=3, stages=stages)
    order = epoch_order(N, seed=3, epoch=0, sampling="reshuffle")

    steps = [step.tolist() for step in order.split((10, 10, 10, 15, 5))]
    kind.assert_as_the_textbook(workload, trial, steps, cuts=(3,))


def test_a_scheduler_that_sets_the_rate_itself_takes_no_plan_beside_it(kind: Kind) -> None:
    workload = workload_with("sgd", scheduler=one_cycle, scheduler_every="step")
    trial = small_trial(workload, batch_size=10, horizon_steps=20, stages=STAGES)

    with pytest.raises(WorkloadError, match="its `scheduler` sets the rate"):
        kind.stepper(workload, trial)


def test_evaluations_say_what_the_textbook_sees(kind: Kind) -> None:
    """Of the averaged weights, where there are any; 150 examples are 64, 64 and 22 at a time."""
    more = points(150, seed=1)
    workload = workload_with("momentum", ema=0.9, batch_size=16, validation=more)
    trial = small_trial(workload, batch_size=16)
    steps = steps_of(trial, epochs=2)

    run = kind.run(workload, trial, RunLength(epochs=2))

    assert [evaluation.step for evaluation in run.evaluations] == list(range(9))
    for evaluation in run.evaluations:
        twin = train_by_the_textbook(workload, steps[: evaluation.step], decay=0.9)
        assert evaluation.samples == sum(map(len, steps[: evaluation.step]))
        assert twin.average is not None
        model = twin.average.eval()
        for split in ("validation", *(("train", "test") if evaluation.has_all_splits else ())):
            examples = getattr(workload, split)
            with torch.no_grad():
                loss, right = cross_entropy(model, examples), accuracy(model, examples)
            assert evaluation.score(split, "loss") == pytest.approx(loss.item(), rel=2e-5)
            assert evaluation.score(split, "accuracy") == pytest.approx(right.item())
        if evaluation.step > 0:
            assert evaluation.batch_loss == pytest.approx(twin.losses[-1], rel=2e-5)


def noisy(name: str, **fields: Any) -> Workload:
    """All at once that a resumed run could lose, of what every trainer knows."""
    noise = {"model": partial(small_mlp, dropout=0.3), "schedule": cosine, "ema": 0.9}
    return workload_with(name, clip_norm=0.5, **(noise | fields))


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_steps_are_the_same_however_they_are_cut_into_calls(kind: Kind, name: str) -> None:
    workload = noisy(name, ema=None)  # with an average each step is a call
    trial = small_trial(workload, batch_size=7, horizon_steps=24, seed=1)

    whole, losses = kind.taken(workload, trial, 20)
    cut, losses_of_calls = kind.taken(workload, trial, 20, cuts=(1, 6, 8, 19))

    assert losses_of_calls == losses
    assert all(map(torch.equal, whole.model.parameters(), cut.model.parameters()))


BY_CYCLE = {"schedule": None, "scheduler": one_cycle, "scheduler_every": "step"}
GROWN = {"batch_size": 10, "micro_batch_size": N, "stages": STAGES, "horizon_steps": None}
STOPPED: dict[str, tuple[Workload, dict[str, Any], int]] = {
    "sgd": (noisy("sgd"), {}, 12),
    "adam": (noisy("adam"), {}, 12),
    "one cycle": (noisy("momentum", **BY_CYCLE), {}, 12),
    "grown": (workload_with("momentum", ema=0.9, batch_size=10), GROWN, 12),
}


@pytest.mark.filterwarnings("ignore:The epoch parameter")
@pytest.mark.parametrize("name", STOPPED)
def test_a_stopped_run_ends_as_one_that_was_not_bit_for_bit(
    kind: Kind, name: str, tmp_path: Path
) -> None:
    workload, fields, n_steps = STOPPED[name]
    trial = small_trial(workload, **({"batch_size": 7, "horizon_steps": 24, "seed": 4} | fields))

    length, build = RunLength(steps=n_steps), kind.build(workload)
    stops = (1, 6, 8, 9)
    assert_a_stop_leaves_no_trace(workload, trial, length, tmp_path, stops=stops, build=build)


def test_a_trainer_goes_on_from_anothers_checkpoint(
    kind: Kind, libraries: Path, tmp_path: Path
) -> None:
    workload, length = workload_with("adam", ema=0.9), RunLength(steps=14)
    trial = small_trial(workload, batch_size=7)
    other = Kind(NATIVE if kind.name == PLAIN else PLAIN, libraries, ROUNDING)
    whole = kind.run(workload, trial, length, checkpoint=tmp_path / "whole")
    kind.run(workload, trial, RunLength(steps=9), checkpoint=tmp_path / "kept")

    run = other.run(workload, trial, length, checkpoint=tmp_path / "kept")

    torch.testing.assert_close(run.tensors, whole.tensors, **ROUNDING)


def test_dropout_keeps_its_share_anew_at_each_step_and_for_each_seed(kind: Kind) -> None:
    workload = replace(
        NUMBERED,
        model=lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(1, 1)),
        loss=lambda model, batch: (model[0](batch[0]) + 0 * model[1](batch[0])).mean(),
    )
    n_steps, n_seeds = 40, 3

    kept = []
    for seed in range(n_seeds):
        _, losses = kind.taken(workload, small_trial(workload, batch_size=20, seed=seed), n_steps)
        kept += [round(loss * 20 / 2) for loss in losses]  # what is kept is doubled

    draws = 20 * len(kept)
    assert len(set(kept)) == n_steps * n_seeds
    assert abs(sum(map(int.bit_count, kept)) - draws / 2) < 4 * (draws / 4) ** 0.5


@pytest.mark.slow
def test_a_kill_right_after_a_checkpoint_leaves_no_trace(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at each checkpoint of a run that writes one whenever it may; no evaluation is lost."""
    monkeypatch.setattr(plain, "_CHECKPOINT_EVERY_S", 0.0)
    monkeypatch.setattr(plain, "_CHECKPOINT_FRACTION", 1e9)
    workload = noisy("adam")
    trial = small_trial(workload, batch_size=13, horizon_steps=24, seed=4)

    def run(name: str, *, kill_after: int = 1000) -> EngineRun | None:
        n_written = 0

        def save(path: Path, **state: Any) -> None:
            nonlocal n_written
            checkpoint.save_checkpoint(path, **state)
            n_written += 1
            if n_written == kill_after:
                raise KeyboardInterrupt

        monkeypatch.setattr(plain, "save_checkpoint", save)
        path = tmp_path / name
        try:
            return kind.run(
                workload, trial, RunLength(epochs=2), rhythm=STEP_BY_STEP, checkpoint=path
            )
        except KeyboardInterrupt:
            return None

    whole = run("whole")
    assert whole is not None
    n_kills = 1
    while run(f"{n_kills}", kill_after=n_kills) is None:
        resumed = run(f"{n_kills}")
        assert resumed is not None
        assert_same_end(resumed, whole)
        n_kills += 1
    assert n_kills > 8


def regression(x: Tensor) -> Workload:
    """Three times x, at a rate that ends well unless it is too high."""
    good = torch.linspace(-1, 1, 40)[:, None]
    return replace(
        small_workload(optimizer=torch.optim.SGD),
        model=lambda: nn.Linear(1, 1),
        train=(x, 3 * good),
        validation=(good, 3 * good),
        test=None,
        loss=lambda model, batch: (model(batch[0]) - batch[1]).square().mean(),
        metrics={},
    )


@pytest.mark.parametrize(("value", "status"), [(float("nan"), Status.NAN), (1e30, Status.DIVERGED)])
@pytest.mark.parametrize("micro_batch_size", [1, 2])
def test_a_loss_that_is_not_finite_ends_the_trial_and_names_the_step(
    kind: Kind, value: float, status: Status, micro_batch_size: int, tmp_path: Path
) -> None:
    x = torch.linspace(-1, 1, 40)[:, None]
    x[17] = value
    workload = regression(x)
    trial = small_trial(workload, batch_size=2, micro_batch_size=micro_batch_size)
    bad = next(n for n, step in enumerate(steps_of(trial, epochs=1), start=1) if 17 in step)

    run = kind.run(workload, trial, RunLength(epochs=2), checkpoint=tmp_path / "c")

    assert bad > 3
    reason = run.outcome.reason
    assert reason is not None
    assert (run.outcome.status, reason.code) == (status, "not_finite_at_any_rate")
    assert reason.named["step"] == bad
    assert 0 < run.evaluations[-1].step < bad


def test_a_growing_loss_ends_the_trial(kind: Kind) -> None:
    workload = regression(torch.linspace(-1, 1, 40)[:, None])
    trial = small_trial(workload, batch_size=40, learning_rate=6.0)

    run = kind.run(workload, trial, RunLength(epochs=100))

    assert run.outcome.reason is not None
    assert run.outcome.reason.code == "losses_far_above_untrained"
    assert run.outcome.status is Status.DIVERGED
    assert 3 <= run.evaluations[-1].step < 10


def hooked(parameters: Any, lr: float) -> torch.optim.Optimizer:
    optimizer = torch.optim.SGD(parameters, lr=lr)
    optimizer.register_step_pre_hook(lambda *_: None)
    return optimizer


WEIGHTED = workload_with("sgd", weight=lambda batch: float(len(batch[0])))
# What native leaves to plain, how it is cut, and why.
LEFT_TO_PLAIN: dict[str, tuple[Workload, dict[str, int], str]] = {
    "dropout in pieces": (noisy("sgd"), {"micro_batch_size": 4}, "dropout"),
    "weights in pieces": (WEIGHTED, {"micro_batch_size": 4}, "weight"),
    "hooks": (small_workload(optimizer=hooked), {}, "hooks"),
}


@pytest.mark.parametrize("name", LEFT_TO_PLAIN)
def test_what_native_refuses_at_a_trial_plain_takes_with_the_reason(
    name: str, libraries: Path
) -> None:
    workload, cut, what = LEFT_TO_PLAIN[name]
    trial = small_trial(workload, batch_size=8, **cut, horizon_steps=10)
    build = native_build(workload, folder=libraries)

    run = run_engine(workload, trial, RunLength(steps=5), build=build)

    (note,) = run.outcome.notes
    assert (run.outcome.status, run.outcome.engine) == (Status.OK, PLAIN)
    assert note.code == "trained_by_pytorch"
    assert what in str(note.named["why"])
    assert replace(run.outcome, notes=()) == run_engine(workload, trial, RunLength(steps=5)).outcome
