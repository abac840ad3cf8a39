"""Trainers: one suite for all. Each takes the textbook's steps, or says why it can't.

Plain is the textbook bit for bit; native but for rounding. Stopped, killed or cut into calls, each
is itself bit for bit.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from tests.reference.engine_run import EngineRun, assert_a_stop_leaves_no_trace, run_engine
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
from tests.reference.textbook_loop import steps_of, train_by_the_textbook
from torch import nn
from torch.optim import lr_scheduler

from batchlab.plans.cadence import pauses
from batchlab.records.batch_plan import Stage
from batchlab.records.run import RunLength
from batchlab.records.trial import Status, Trial
from batchlab.training.native.program import NativeBuild, native_build
from batchlab.training.native.trainer import NativeStepper, stepper_of
from batchlab.training.stepper import Stepper
from batchlab.workload.data import epoch_order
from batchlab.workload.definition import Workload

pytestmark = pytest.mark.usefixtures("quickly")

N = 50
PLAIN, NATIVE = Stepper.name, NativeStepper.name

# Each workload is traced and compiled once, and kept, so that no other one gets its id.
BUILT: dict[int, tuple[Workload, NativeBuild]] = {}

# Of weights, losses and scores, by how much they may be apart: a part of what they are, and of one.
BITS = {"rtol": 0.0, "atol": 0.0}
ROUNDING = {"rtol": 2e-5, "atol": 2e-6}


@dataclass(frozen=True)
class Kind:
    """One trainer."""

    name: str
    apart: dict[str, float]

    def build(self, workload: Workload) -> NativeBuild | None:
        if self.name == PLAIN:
            return None
        if id(workload) not in BUILT:
            BUILT[id(workload)] = (workload, native_build(workload))
        return BUILT[id(workload)][1]

    def name_for(self, trial: Trial) -> str:
        return PLAIN if trial.accumulates else self.name

    def stepper(self, workload: Workload, trial: Trial) -> Stepper:
        stepper, _ = stepper_of(workload, trial, torch.device("cpu"), self.build(workload))
        assert stepper.name == self.name_for(trial)
        assert (stepper.fast is not None) == (stepper.name == NATIVE)
        return stepper

    def taken(self, workload, trial, n_steps, cuts=()) -> tuple[Stepper, list[float]]:
        """A stepper after `n_steps` steps, taken in calls that begin anew at each cut."""
        stepper = self.stepper(workload, trial)
        losses: list[float] = []
        for first, last in zip((0, *cuts), (*cuts, n_steps), strict=True):
            losses += stepper.steps(stepper.stream(first), last - first, first_step=first)
        return stepper, losses

    def run(self, workload: Workload, trial: Trial, length: RunLength, **fields: Any) -> EngineRun:
        run = run_engine(workload, trial, length, build=self.build(workload), **fields)
        assert run.outcome.engine == self.name_for(trial)
        return run


@pytest.fixture(params=[PLAIN, NATIVE])
def kind(request):
    return Kind(request.param, BITS if request.param == PLAIN else ROUNDING)


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


def by_cosine(optimizer: Any, n_steps: int) -> Any:
    return lr_scheduler.LambdaLR(optimizer, lambda step: float(cosine(step / n_steps)))


def one_cycle(optimizer: Any, n_steps: int) -> Any:
    """It moves the momentum too."""
    return lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=n_steps)


def restarts(optimizer: Any, n_steps: int) -> Any:
    return lr_scheduler.CosineAnnealingWarmRestarts(optimizer, n_steps // 2)


def halved(optimizer: Any) -> Any:
    return lr_scheduler.StepLR(optimizer, 2, gamma=0.5)


OF_10 = ({"batch_size": 10},)


class Case(NamedTuple):
    """What is trained and how it is cut into steps, and what the textbook is told of it."""

    workload: Workload
    trials: Sequence[dict[str, Any]] = OF_10
    n_steps: int = 15
    sizes: Sequence[int] = ()  # of the steps, where they change
    cuts: Sequence[int] = ()
    textbook: Any = None


CASES: dict[str, Case] = {}
for name in OPTIMIZERS:
    CASES[name] = Case(workload_with(name), [{"batch_size": size} for size in (1, 7, N)])
ORDERS = itertools.product((1, 7, N), ("reshuffle", "replacement"), (False, True))
keys = ("batch_size", "sampling", "drop_last")
CASES["orders"] = Case(
    workload_with("sgd"), [dict(zip(keys, order, strict=True)) for order in ORDERS]
)
# Each piece counts by its examples; what is clipped is their sum.
CLIPPED = (("momentum", 0.3), ("momentum", 1e6), ("sgd", 0.1), ("adam", 0.1))
for name, norm in CLIPPED:
    trials = [{"batch_size": 20, "micro_batch_size": micro} for micro in (1, 7, 19, 20)]
    workload = workload_with(name, clip_norm=norm)
    given = {"n_steps": 4, "textbook": {"clip_norm": norm}}
    CASES[f"pieces of {name} within {norm}"] = Case(workload, trials, **given)
for reference in (10, 64):
    workload = workload_with("momentum", ema=0.9, batch_size=reference)
    CASES[f"average of {reference}"] = Case(workload, textbook={"decay": 0.9 ** (10 / reference)})

# Kernels of matrices are chosen by size; in C 1000 examples are several tiles.
WIDE = workload_with(
    "momentum",
    model=lambda: nn.Sequential(nn.Linear(100, 128), nn.ReLU(), nn.Linear(128, CLASSES)),
    train=(torch.randn(1001, 100, generator=torch.Generator().manual_seed(0)), points(1001)[1]),
)
CASES["wide"] = Case(WIDE, [{"batch_size": 1000}], n_steps=4)

# From 60 examples on 20 at half the rate, from 130 on all, as they lie, at a tenth.
STAGES = (
    Stage(from_samples=60, batch_size=20, rate_factor=0.5),
    Stage(from_samples=130, batch_size=N, rate_factor=0.1),
)
RATES = (*[1.0] * 6, *[0.5] * 4, *[0.1] * 3)
for name in ("groups", "momentum", "adam"):
    CASES[f"growing {name}"] = Case(
        workload_with(name, ema=0.9, batch_size=10),
        [{"batch_size": 10, "micro_batch_size": micro, "stages": STAGES} for micro in (N, 7)],
        sizes=(10, 10, 10, 10, 10, 10, 20, 20, 20, 20, 10, 50),
        cuts=(5, 7),
        textbook={
            "decay": [*[0.9] * 6, *[0.9**2] * 4, *[0.9**5] * 2],
            "scheduler": lambda optimizer: lr_scheduler.LambdaLR(optimizer, RATES.__getitem__),
        },
    )
# As many steps as the first size would take: 10, 10, 10, 15 and what is left.
FEWER = {"micro_batch_size": 15, "stages": (Stage(from_samples=30, batch_size=15),)}
CASES["as many"] = Case(
    workload_with("momentum"), [OF_10[0] | FEWER], sizes=(10, 10, 10, 15, 5), cuts=(3,)
)

for scheduler in (by_cosine, one_cycle, restarts, halved, warm_up):
    textbook = {"scheduler": scheduler, "is_scheduled": lambda taken: taken % 5 == 0}
    if scheduler not in (halved, warm_up):  # by step
        textbook = {"scheduler": partial(scheduler, n_steps=20), "is_scheduled": (20).__gt__}
    fields = {"scheduler": scheduler}
    CASES[scheduler.__name__] = Case(
        workload_with("groups", **({"schedule": cosine} if scheduler is by_cosine else fields)),
        [{"batch_size": 10, "horizon_steps": 20}],
        n_steps=20,
        cuts=(3, 11),
        textbook=textbook,
    )


@pytest.mark.filterwarnings("ignore:The epoch parameter")
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_trainer_takes_the_textbooks_steps(kind, case):
    """Micro-batches may add up in another order."""
    for fields in case.trials:
        trial = small_trial(case.workload, seed=3, **fields)
        steps = steps_of(trial, epochs=6)[: case.n_steps]
        if case.sizes:
            orders = [epoch_order(N, seed=3, epoch=k, sampling="reshuffle") for k in range(3)]
            examples = torch.cat([*orders, torch.arange(N)])[: sum(case.sizes)]
            steps = [step.tolist() for step in examples.split(case.sizes)]

        stepper, losses = kind.taken(case.workload, trial, len(steps), case.cuts)
        twin = train_by_the_textbook(case.workload, steps, seed=3, **(case.textbook or {}))

        apart = ROUNDING if trial.micro_batch_size < max(map(len, steps)) else kind.apart
        torch.testing.assert_close(losses, twin.losses, **apart)
        weights, expected = list(stepper.model.parameters()), list(twin.model.parameters())
        assert (stepper.averaged is None) == (twin.average is None)
        if twin.average is not None:
            weights += stepper.evaluated.parameters()
            expected += twin.average.parameters()
        torch.testing.assert_close(weights, expected, **apart)
        assert stepper.optimizer.param_groups[0]["lr"] == twin.rates[-1]


@pytest.mark.parametrize("interval_samples", [0, 20])
def test_evaluations_say_what_the_textbook_sees(kind, interval_samples):
    """At the cadence, with the mean loss since the one before, of the averaged weights.

    150 examples are 64, 64 and 22 at a time.
    """
    more = points(150, seed=1)
    workload = workload_with("momentum", ema=0.9, batch_size=16, validation=more)
    trial = small_trial(workload, batch_size=7)
    steps = steps_of(trial, epochs=3)

    run = kind.run(workload, trial, RunLength(epochs=3, interval_samples=interval_samples))

    planned = pauses(trial.plan, last_step=len(steps), interval_samples=interval_samples)
    evaluated = [(0, True), *((pause.step, pause.all_splits) for pause in planned)]
    assert [(at.step, at.has_all_splits) for at in run.evaluations] == evaluated
    before = 0
    for evaluation in run.evaluations:
        taken = steps[: evaluation.step]
        twin = train_by_the_textbook(workload, taken, decay=0.9 ** (7 / 16))
        assert evaluation.samples == sum(map(len, taken))
        assert twin.average is not None
        model = twin.average.eval()
        for split in ("validation", *(("train", "test") if evaluation.has_all_splits else ())):
            examples = getattr(workload, split)
            with torch.no_grad():
                loss, right = cross_entropy(model, examples), accuracy(model, examples)
            assert evaluation.score(split, "loss") == pytest.approx(loss.item(), rel=2e-5)
            assert evaluation.score(split, "accuracy") == pytest.approx(right.item())
        if evaluation.step > 0:
            sizes = list(map(len, taken[before:]))
            expected = np.average(twin.losses[before:], weights=sizes)
            rounding = 1e-12 if kind.name == PLAIN else 2e-5
            assert evaluation.batch_loss == pytest.approx(expected, rel=rounding)
        before = evaluation.step


def noisy(name: str, **fields: Any) -> Workload:
    """All at once that a resumed run could lose, of what every trainer knows."""
    noise = {"model": partial(small_mlp, dropout=0.3), "schedule": cosine, "ema": 0.9}
    return workload_with(name, clip_norm=0.5, **(noise | fields))


@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_steps_are_the_same_however_they_are_cut_into_calls(kind, name):
    workload = noisy(name, ema=None)  # with an average each step is a call
    trial = small_trial(workload, batch_size=7, horizon_steps=24, seed=1)

    whole, losses = kind.taken(workload, trial, 20)
    cut, losses_of_calls = kind.taken(workload, trial, 20, cuts=(1, 6, 8, 19))

    assert losses_of_calls == losses
    assert all(map(torch.equal, whole.model.parameters(), cut.model.parameters()))


BY_CYCLE = {"schedule": None, "scheduler": one_cycle}
GROWN = {"batch_size": 10, "micro_batch_size": N, "stages": STAGES, "horizon_steps": None}
STOPPED: dict[str, tuple[Workload, dict[str, Any]]] = {
    "adam": (noisy("adam"), {}),
    "one cycle": (noisy("momentum", **BY_CYCLE), {}),
    "grown": (workload_with("momentum", ema=0.9, batch_size=10), GROWN),
}


@pytest.mark.filterwarnings("ignore:The epoch parameter")
@pytest.mark.parametrize("name", STOPPED)
def test_a_stopped_run_ends_as_one_that_was_not_bit_for_bit(kind, name, tmp_path):
    workload, fields = STOPPED[name]
    trial = small_trial(workload, **({"batch_size": 7, "horizon_steps": 24, "seed": 4} | fields))
    given = {"stops": (6, 8), "build": kind.build(workload)}

    assert_a_stop_leaves_no_trace(workload, trial, RunLength(steps=12), tmp_path, **given)


def test_a_trainer_goes_on_from_anothers_checkpoint(kind, tmp_path):
    workload, length = workload_with("adam", ema=0.9), RunLength(steps=14)
    trial = small_trial(workload, batch_size=7)
    other = Kind(NATIVE if kind.name == PLAIN else PLAIN, ROUNDING)
    whole = kind.run(workload, trial, length, checkpoint=tmp_path / "whole")
    kind.run(workload, trial, RunLength(steps=9), checkpoint=tmp_path / "kept")

    run = other.run(workload, trial, length, checkpoint=tmp_path / "kept")

    torch.testing.assert_close(run.tensors, whole.tensors, **ROUNDING)


def test_dropout_keeps_its_share_anew_at_each_step_and_for_each_seed(kind):
    workload = small_workload(
        optimizer=torch.optim.SGD,
        model=lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(1, 1)),
        # The n-th example is the number 2**n, so the sum of a step's losses says which are kept.
        train=(2.0 ** torch.arange(20)[:, None],),
        loss=lambda model, batch: (model[0](batch[0]) + 0 * model[1](batch[0])).mean(),
        metrics={},
        validation=None,
        test=None,
    )
    n_steps, n_seeds = 40, 3

    kept = []
    for seed in range(n_seeds):
        _, losses = kind.taken(workload, small_trial(workload, batch_size=20, seed=seed), n_steps)
        kept += [round(loss * 20 / 2) for loss in losses]  # what is kept is doubled

    draws = 20 * len(kept)
    assert len(set(kept)) == n_steps * n_seeds
    assert abs(sum(map(int.bit_count, kept)) - draws / 2) < 4 * (draws / 4) ** 0.5


@pytest.mark.parametrize(
    ("value", "status", "size", "micro", "rate"),
    [
        (float("nan"), Status.NAN, 2, 2, 0.05),
        (float("nan"), Status.NAN, 2, 1, 0.05),
        (1e30, Status.DIVERGED, 2, 2, 0.05),
        (None, Status.DIVERGED, 40, 40, 6.0),
    ],
)
def test_a_loss_that_is_lost_or_grows_ends_the_trial(kind, value, status, size, micro, rate):
    """Three times x, at a rate that ends well unless it is too high."""
    good = torch.linspace(-1, 1, 40)[:, None]
    x = good.clone()
    x[17] = good[17] if value is None else value
    workload = small_workload(
        optimizer=torch.optim.SGD,
        model=lambda: nn.Linear(1, 1),
        train=(x, 3 * good),
        validation=(good, 3 * good),
        test=None,
        loss=lambda model, batch: (model(batch[0]) - batch[1]).square().mean(),
        metrics={},
    )
    trial = small_trial(workload, batch_size=size, micro_batch_size=micro, learning_rate=rate)

    run = kind.run(workload, trial, RunLength(epochs=100 if value is None else 2))

    reason, last = run.outcome.reason, run.evaluations[-1].step
    assert run.outcome.status is status
    if value is None:
        assert reason.code == "losses_far_above_untrained"
        assert 3 <= last < 10
    else:
        bad = next(n for n, step in enumerate(steps_of(trial, epochs=1), start=1) if 17 in step)
        assert (reason.code, reason.named["step"]) == ("not_finite_at_any_rate", bad)
        assert 0 < last < bad
        assert bad > 3


def hooked(parameters: Any, lr: float) -> torch.optim.Optimizer:
    optimizer = torch.optim.SGD(parameters, lr=lr)
    optimizer.register_step_pre_hook(lambda *_: None)
    return optimizer


# What native leaves to plain, how it is cut, and why.
LEFT_TO_PLAIN: list[tuple[Workload, dict[str, int], str]] = [
    (workload_with("sgd"), {"micro_batch_size": 4}, "micro-batches"),
    (small_workload(optimizer=hooked), {}, "hooks"),
]


@pytest.mark.parametrize(("workload", "cut", "what"), LEFT_TO_PLAIN)
def test_what_native_refuses_at_a_trial_plain_takes_with_the_reason(workload, cut, what):
    trial = small_trial(workload, batch_size=8, **cut, horizon_steps=10)
    build = native_build(workload)

    run = run_engine(workload, trial, RunLength(steps=5), build=build)

    (note,) = run.outcome.notes
    assert (run.outcome.status, run.outcome.engine) == (Status.OK, PLAIN)
    assert note.code == "trained_by_pytorch"
    assert what in str(note.named["why"])
    assert replace(run.outcome, notes=()) == run_engine(workload, trial, RunLength(steps=5)).outcome
