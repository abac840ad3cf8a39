"""The golden studies: each a name and its document, made from as far out as can be."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.golden import adapter
from tests.golden.compare import golden
from tests.reference.made_up import made_up_curves
from tests.reference.made_up_advice import KINDS
from tests.reference.made_up_noise import made_up_noise
from tests.reference.made_up_profile import made_up_profile
from tests.reference.saving_script import saving_script
from tests.reference.simulated_engine import ForgetfulEngine, Truth
from tests.reference.simulated_question import knee
from tests.reference.studies_to_compare import profile_to_compare, study_to_compare
from tests.reference.training_script import training_script

import batchlab
from batchlab.records.estimate import Reason
from batchlab.records.trial import Status
from batchlab.words.document import plain

ROOT = Path(__file__).parents[2]
SOON = 1 - 0.03 / 1.05  # an end whose level, 5 % more errors, is the target of a Truth
RACE = {"s_min": 150.0, "b_crit": 400.0, "end_noise": 0.0002}


@dataclass(frozen=True, kw_only=True)
class Study:
    """A golden study: what makes its document, in a folder of its own."""

    document: Callable[[Path], Any]
    is_real: bool = False  # something trains, by a real clock whose readings are left out


def document_of(name: str, folder: Path) -> Any:
    """What is golden of a study's document."""
    return golden(STUDIES[name].document(folder), timed=STUDIES[name].is_real)


def _made(make: Callable[..., Any], *arguments: Any, **named: Any) -> Study:
    return Study(document=lambda folder: make(*arguments, **named))


def _real(document: Callable[[Path], Any]) -> Study:
    return Study(document=document, is_real=True)


def _precise(folder: Path) -> Any:
    return adapter.precise()


_advice = partial(_made, adapter.simulated_advice)
_compare = partial(_made, adapter.compared)


def _with_end(end: Callable[[int, float], float] = lambda size, rate: SOON, **fields: Any) -> Truth:
    return Truth(end=end, **({"end_noise": 0.0002} | fields))


def _race(trainings: float, **named: Any) -> Study:
    truth = _with_end(**(RACE | named.pop("truth", {})))
    return _advice(truth, trainings=trainings, epochs=12.0, **named)


def _best_at(best: int) -> Truth:
    return _with_end(lambda size, rate: SOON - 0.002 * abs(math.log2(size / best)))


def _worse_above_64(size: int, rate: float) -> float:
    return SOON if size <= 64 else SOON - 0.006


ALIKE = Truth(noise=0.03)


def _same_time(size: int) -> float:
    return 2.0 / ALIKE.best_steps(size)


# Those whose planner takes seconds: some by day, the others by night.
LONG = {
    *("pilot-large-ends-worse", "quality", "race-two-workers", "samples-small-budget"),
    "small-budget",
}
LONG_BY_NIGHT = {
    *("alike", "every-rate-diverges", "like-a-command", "other-reference", "overfitting"),
    *("pilot-falls-apart-later", "pilot-planned-end", "pilot-recommend", "race-3", "race-4"),
    *("race-8", "race-12", "race-20", "race-large-ends-worse", "recommend-large"),
    *("recommend-noisy", "recommend-small", "recommend-other-exponent", "reference-misses"),
    *("samples", "target-never-met", "times-unknown"),
}
FAST_LARGE = {64: 0.12, 128: 0.115, 256: 0.1, 512: 0.24, 16: 1.0, 32: 1.0, 1024: 1.0, 2048: 1.0}
THREE, FLAT = (64, 128, 256), knee(8192)
PILOT: dict[str, Any] = {"target": None}

ADVICES = {
    # A target is given.
    "recommend-large": _advice(),
    "recommend-small": _advice(step_s=knee(16)),
    "recommend-one-valley": _advice(
        Truth(b_crit=64.0), FAST_LARGE.__getitem__, sizes=tuple(sorted(FAST_LARGE))
    ),
    "recommend-other-exponent": _advice(Truth(exponent=0.6), knee(256)),
    "recommend-noisy": _advice(Truth(noise=0.25), knee(256), trainings=150),
    "reference-misses": _advice(Truth(best_rate=0.6, left=0.2), trainings=150),
    "alike": _advice(ALIKE, _same_time, trainings=250),
    "small-budget": _advice(Truth(best_rate=0.16), knee(48), trainings=20),
    "times-unknown": _advice(trainings=200, options=adapter.roughly_timed(knee(1024), 0.3)),
    "noisy-small-budget": _advice(Truth(noise=0.12), knee(48), trainings=12),
    "alike-times-unknown": _advice(
        ALIKE, _same_time, trainings=300, options=adapter.roughly_timed(_same_time, 0.09, THREE)
    ),
    "given-target-small-budget": _advice(trainings=3),
    "target-never-met": _advice(_with_end(lambda size, rate: 0.96), target=0.97),
    "target-met-untrained": _advice(target=0.05, trainings=10),
    "every-rate-diverges": _advice(Truth(best_rate=1e-9)),
    "sizes-out-of-memory": _advice(step_s=FLAT, options=adapter.options_that_fit(FLAT, 512)),
    "reference-out-of-memory": _advice(step_s=FLAT, options=adapter.options_that_fit(FLAT, 32)),
    "samples": _advice(objective="samples", trainings=150),
    "samples-small-budget": _advice(objective="samples"),
    "coupled-loss": _advice(target=None, not_comparable=Reason.of("losses_not_comparable")),
    # No target is given: a pilot sets it, and ends count.
    "pilot-recommend": _advice(_with_end(), **PILOT, trainings=100),
    "pilot-planned-end": _advice(**PILOT, planned_epochs=5.0, trainings=400),
    "pilot-large-ends-worse": _advice(_with_end(_worse_above_64), **PILOT, trainings=150),
    "pilot-falls-apart-later": _advice(
        _with_end(lasts=lambda size, rate: math.inf if size <= 256 else 1.2),
        trainings=40,
        epochs=20.0,
    ),
    "pilot-cut": _advice(Truth(noise=0.02), target=None, budget_s=8.0),
    "pilot-dearer": _advice(target=None, trainings=7, epochs=30.0, engine=adapter.Dearer),
    "pilot-fails": _advice(target=None, engine=adapter.Broken),
    "overfitting": _advice(target=None, trainings=40, epochs=30.0, engine=adapter.Overfitting),
    "quality": _advice(_best_at(256), objective="quality", trainings=60, epochs=12.0),
    # Few trainings, down to less than one.
    **{f"race-{trainings:g}": _race(trainings) for trainings in (0.6, 1, 2, 3, 4, 8, 12, 20)},
    "race-downward": _advice(_with_end(**RACE), knee(8), trainings=4, epochs=12.0, target=None),
    "race-large-ends-worse": _race(6, truth={"end": _worse_above_64}),
    "race-two-workers": _race(4, n_workers=2),
    # As a command of the user's: nothing is kept of a run, and it evaluates when it likes.
    "like-a-command": _advice(
        _with_end(), knee(256), trainings=60, epochs=12.0, engine=ForgetfulEngine
    ),
    "other-reference": _advice(
        step_s=knee(512), reference=adapter.reference_at(512, 0.32), trainings=120
    ),
}


def _told(
    subject: Callable[[Path], Any],
    sizes: Sequence[int],
    step_s: Callable[[int], float],
    **asked: Any,
) -> Study:
    asked |= {"batch_sizes": sizes, "step_s": step_s}
    return _real(lambda folder: adapter.told_advice(subject(folder), folder, **asked))


def _script_step_s(size: int) -> float:
    return 0.05 * max(1.0, size / 64)


REAL_ADVICES = {
    "workload": _told(
        _precise, (20, 50), lambda size: 0.5 * max(1.0, size / 50), epochs=12, budget="10m"
    ),
    "command": _told(
        training_script, (8, 16, 32, 64, 128), _script_step_s, epochs=10, budget="20m"
    ),
    "command-with-target": _told(
        training_script, (16, 64, 256), _script_step_s, target=("val_loss", 0.5), budget="15m"
    ),
}


def _sweep(
    sizes: Sequence[Any],
    rates: Sequence[float] | None = None,
    subject: Callable[[Path], Any] = _precise,
    *,
    earlier: Mapping[str, Any] | None = None,
    **asked: Any,
) -> Study:
    """A sweep; `earlier` differs from it in a sweep that the store already has."""
    asked |= {"batch_sizes": sizes} | ({"learning_rates": rates} if rates else {})

    def document(folder: Path) -> Any:
        sweep = partial(batchlab.sweep, subject(folder), store=folder / "lab.db")
        with adapter.timed_shortly():
            if earlier is not None:
                sweep(**(asked | earlier))
            return sweep(**asked).to_dict()

    return _real(document)


def _json_report(store: Path) -> Any:
    return adapter.command_line("report", "--store", str(store), "--format", "json")


def _stored(show: Callable[[Path], Any] = _json_report, **fields: Any) -> Study:
    return Study(document=lambda folder: show(adapter.stored(folder, **fields)))


def _overfits(size: int, rate: float, seed: int) -> Any:
    curves = made_up_curves(train=0.999, validation=0.95, test=0.95)
    for split in ("validation", "test"):
        curves[split, "loss"] = lambda epoch: 0.4 + 0.02 * (epoch - 6) ** 2
    return curves


def _script_that_fails(failure: str) -> Study:
    script = lambda folder: training_script(folder, "--fail", failure)  # noqa: E731
    return _sweep((16,), (0.1,), script, epochs=2)


def _saving_script(folder: Path) -> Any:
    return saving_script(folder, "--pause", "0", "--last-save", "100")


FEWER = {"batch_sizes": (16,), "epochs": 1}
SWEEPS = {
    "cells": _sweep((10, 50, "full"), (0.05, 0.2), seeds=2, epochs=3),
    "scaled-rates": _sweep((10, 40), (0.05,), scaling_rule="sqrt", steps=12),
    "replacement-micro-batches": _sweep(
        (12, 48), (0.1,), epochs=2, sampling="replacement", micro_batch_size=6, drop_last=True
    ),
    "target": _sweep((10, 50), (0.1, 100.0), target=("accuracy", 0.8), epochs=20),
    "measured": _sweep((20,), (0.1,), epochs=2, measure=("noise_scale", "sharpness")),
    "plans": _sweep((5, 40), plans=("small", "large", "grow", "decay"), seeds=2, epochs=8),
    "script": _sweep((16, 64), (0.05, 0.1), training_script, epochs=2),
    "script-target": _sweep(
        (16, 128), (0.1, 0.4), training_script, seeds=2, target=("val_loss", 0.6), epochs=20
    ),
    **{
        f"script-{failure}": _script_that_fails(failure) for failure in ("nan", "crash", "patience")
    },
    # What a store has is continued: from a checkpoint, or from the beginning if there is none.
    "continued": _sweep((10, 50), (0.1,), epochs=4, earlier={"epochs": 2}),
    "script-restarted": _sweep((16, 64), (0.1,), training_script, epochs=3, earlier=FEWER),
    "script-resumed": _sweep((16, 64), (0.5,), _saving_script, epochs=3, earlier=FEWER),
    "failures": _sweep((10, 20, 40, 50), (0.1,), lambda folder: adapter.failing(), epochs=3),
}

STORED_SWEEPS = {
    "stored": _stored(learning_rates=(0.01, 0.1), seeds=2),
    "stored-overfitting": _stored(curves=_overfits),
    "stored-bad-ends": _stored(
        learning_rates=(0.01, 0.1),
        endings={
            (64, 0.1, 0): (Status.DIVERGED, "the loss grew", 3),
            (256, 0.1, 0): (Status.NAN, "the loss is nan", 2),
            (1024, 0.1, 0): (Status.OOM, "out of memory", 0),
            (1024, 0.01, 0): (Status.KILLED, "killed", 4),
        },
    ),
    "stored-no-validation": _stored(n_validation=0, n_test=0),
}


COMPARISONS = {
    "alike": _compare(study_to_compare),
    "slower": _compare(profile_to_compare, slower=1.5),
    "longer-and-worse": _compare(study_to_compare, longer=1.5, worse=0.02),
}

REPORTS = {
    "csv-sweep": _stored(adapter.csv_tables, batch_sizes=(64, 256), epochs=4),
    "csv-advice": _stored(adapter.csv_tables, advice=KINDS["likely"]()),
    "json-advice": _stored(_json_report, advice=KINDS["ends_no_worse"]()),
}


def _recorded_profile(path: str) -> Study:
    return _made(lambda: batchlab.Profile.from_json((ROOT / path).read_text()).to_dict())


PROFILES = {
    "recorded-cpu": _recorded_profile("benchmarks/profiles/cpu/mnist-mlp-1.json"),
    "recorded-gpu": _recorded_profile("benchmarks/profiles/h200/regret-transformer.json"),
    "made-up": _made(lambda: made_up_profile().to_dict()),
}


def _noise(**asked: Any) -> Study:
    return _real(lambda folder: batchlab.noise(adapter.precise(), **asked).to_dict())


NOISES = {
    "made-up": _made(lambda: made_up_noise().to_dict()),
    "lost": _made(lambda: made_up_noise((0, 20.0), (50, math.inf)).to_dict()),
    "workload": _noise(steps=20),
}


def _law(size: float, exponent: float = 1.0) -> float:
    return 1000 * (1 + (250 / size) ** exponent)


def _points(law: Callable[[float], float] = _law) -> list[dict[str, Any]]:
    return [
        {"batch_size": size, "steps_to_target": law(size) * (1 + 0.02 * math.sin(size))}
        for size in (16, 64, 256, 1024, 4096)
    ]


def _fit(points: Sequence[Any]) -> Study:
    return _made(adapter.told, lambda: plain(batchlab.fit(points)))


FITS = {
    "law": _fit(_points()),
    "other-exponent": _fit(_points(law=partial(_law, exponent=0.6))),
    "no-law": _fit(_points(law=lambda size: 1000.0 + (size - 300) ** 2 / 100)),
    "two-sizes": _fit(_points()[:2]),
    "nothing": _fit([]),
}


# By name; the first word is the command.
STUDIES: dict[str, Study] = {
    f"{kind}-{name}": study
    for kind, studies in (
        ("advise", {**ADVICES, **REAL_ADVICES}),
        ("sweep", {**SWEEPS, **STORED_SWEEPS}),
        ("compare", COMPARISONS),
        ("report", REPORTS),
        ("workloads", {"built-in": _made(adapter.command_line, "workloads", "--json")}),
        ("profile", PROFILES),
        ("noise", NOISES),
        ("fit", FITS),
    )
    for name, study in studies.items()
}
# By day there is an advice of a command with a target, one script crashes, and one is resumed.
NIGHTLY = {
    *(f"advise-{name}" for name in (*LONG_BY_NIGHT, "command", "workload")),
    *("sweep-script", "sweep-script-nan", "sweep-script-restarted"),
}
SLOW = {f"advise-{name}" for name in LONG} | {n for n, study in STUDIES.items() if study.is_real}
