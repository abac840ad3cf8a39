"""mccandlish2018: the trade of steps for examples, and the noise scale beside its turning point."""

from __future__ import annotations

import math
from collections.abc import Iterator

from batchlab.errors import FitError
from batchlab.laws.steps import StepsToTargetFit, fit_steps_to_target
from batchlab.laws.steps_curve import StepsObservation
from batchlab.records.estimate import Estimate
from batchlab.records.replication import Drawing, DrawnPoint, Form
from batchlab.replications.arms import (
    by_seed,
    ended,
    last_measured,
    level,
    mean_measured,
    over,
    times,
)
from batchlab.replications.claims import Claim
from batchlab.replications.experiment import Experiment, Measured, Paper, Studies
from batchlab.replications.steps import at_chosen_rates
from batchlab.replications.tables import PublishedTable

_SIZES = (8, 32, 128, 512, 2048)
_TARGET = ("accuracy", 0.95)
_NOISE_SIZE, _NOISE_RATE = 128, 0.1
_WITHIN_FACTOR = 2.0  # it is "an order of magnitude statement"
_EXPONENT_WITHIN = 0.2


def paper() -> Paper:
    """All of it."""
    return Paper(
        title="Steps and examples on a hyperbola: does the noise scale tell where it turns?",
        paper=(
            "McCandlish, Kaplan, Amodei 2018, An Empirical Model of Large-Batch Training, "
            "https://arxiv.org/abs/1812.06162: MNIST"
        ),
        protocol=(
            "A fully connected network (two layers of 128) on 50,000 training digits, SGD without "
            "momentum, until 95 % validation accuracy holds, at rates a factor 2 apart.",
            "For each seed the rate is the one with the fewest steps in the mean of the others. "
            "The law S = S_min (1 + B_crit/B) is fitted to the steps.",
            "The noise scale B_simple is measured along a training at batch size 128.",
        ),
        left_open=(
            "The paper's network for MNIST is a small convolutional one, and its target is not "
            "known: both move B_crit.",
            "B_crit and the noise scale at the start are believed, not found in a source.",
        ),
        experiments=_experiments,
        measured=_measured,
        claims=lambda form: tuple(_claims()),
        drawings=_drawings,
    )


def _rates(batch_size: int) -> tuple[float, ...]:
    """Around a rate that grows with the root of the batch size, 0.1 at 32."""
    middle = 0.1 * math.sqrt(batch_size / 32)
    return tuple(float(f"{middle * 2.0**step:.3g}") for step in range(-1, 4))


def _experiments(form: Form) -> tuple[Experiment, ...]:
    is_full = form == "full"
    settings = {"momentum": 0.0}
    if is_full:
        sizes = tuple(2**power for power in range(2, 14))
    else:
        sizes = _SIZES
    return (
        *(
            Experiment(
                name=f"B = {size}",
                settings=settings,
                batch_sizes=(size,),
                learning_rates=_rates(size),
                seeds=5 if is_full else 3,
                epochs=60 if is_full else 25,
                target=_TARGET,
            )
            for size in sizes
        ),
        Experiment(
            name="noise",
            settings=settings,
            batch_sizes=(_NOISE_SIZE,),
            learning_rates=(_NOISE_RATE,),
            seeds=5 if is_full else 3,
            epochs=20 if is_full else 6,
            measure=("noise_scale",),
        ),
    )


def _fit(studies: Studies) -> StepsToTargetFit | None:
    seen = []
    for name, study in studies.items():
        if name == "noise":
            continue
        for crossing, size in at_chosen_rates(study):
            seen.append(
                StepsObservation(
                    batch_size=size, after_steps=crossing.after_step, steps=crossing.step
                )
            )
    try:
        return fit_steps_to_target(seen)
    except FitError:
        return None


def _measured(studies: Studies, table: PublishedTable) -> Measured:
    found: dict[str, Estimate] = {}
    fit = _fit(studies)
    if fit is not None:
        found["exponent"], found["b_crit"] = fit.exponent, fit.b_crit
    if noise := ended(studies.get("noise")):
        along = mean_measured(noise, "noise_scale")
        found["b_simple"] = level(along)
        first = by_seed(noise, lambda r: r.evaluations[0].measurement("noise_scale"))
        found["growth"] = times(last_measured(noise, "noise_scale"), first)
        if fit is not None:
            found["over"] = over(found["b_simple"], fit.b_crit)
    return found


def _claims() -> Iterator[Claim]:
    yield Claim(
        says="Steps and examples to the target lie on a hyperbola",
        measured="exponent",
        measured_as="exponent of the law of steps, which is 1 on a hyperbola",
        rows=(("exponent", "S = S_min (1 + (B_crit/B)^exponent)"),),
        by="value",
        within=_EXPONENT_WITHIN,
    )
    yield Claim(
        says="The noise scale is about 900 on MNIST",
        measured="b_simple",
        measured_as="B_simple, the mean over the ends of the epochs",
        rows=(("B_simple_average", "MNIST"),),
        by="value",
        factor=_WITHIN_FACTOR,
        quantity="critical_batch_size",
    )
    yield Claim(
        says="The noise scale overestimates the critical batch size on MNIST",
        measured="over",
        measured_as="B_simple over B_crit",
        rows=(("B_simple over B_crit", "MNIST"),),
        by="value",
    )
    yield Claim(
        says="The critical batch size is about 200 on MNIST",
        measured="b_crit",
        measured_as="B_crit at 95 % validation accuracy",
        rows=(("B_crit_average", "MNIST"),),
        by="value",
        factor=_WITHIN_FACTOR,
        quantity="critical_batch_size",
    )
    yield Claim(
        says="The noise scale grows while the loss falls",
        measured="growth",
        measured_as="B_simple at the end over that of the untrained model",
        rows=(("B_simple_average", "MNIST"), ("B_simple_start", "MNIST")),
        of_two="ratio",
    )


def _drawings(studies: Studies, table: PublishedTable) -> tuple[Drawing, ...]:
    fit = _fit(studies)

    def steps() -> Iterator[DrawnPoint]:
        if fit is not None:
            for size in fit.batch_sizes:
                value = fit.steps(size)
                yield DrawnPoint(series="fitted law", at=size, value=value)

    def scales() -> Iterator[DrawnPoint]:
        noise = ended(studies.get("noise"))
        mean = level(mean_measured(noise, "noise_scale"))
        yield DrawnPoint(series="measured", at="B_simple", value=mean)
        if fit is not None:
            yield DrawnPoint(series="measured", at="B_crit", value=fit.b_crit)
        for at, row in (("B_simple", "B_simple_average"), ("B_crit", "B_crit_average")):
            value = Estimate.of(table.number(row, "MNIST"), n=1)
            yield DrawnPoint(series="published", at=at, value=value, is_published=True)

    return (
        Drawing(
            title="Steps to 95 % by batch size",
            over="batch_size",
            quantity="steps_to_target",
            points=tuple(steps()),
            note="Of the fitted law, with the interval of its joint draws.",
        ),
        Drawing(
            title="Noise scale and critical batch size",
            over="configuration",
            quantity="critical_batch_size",
            points=tuple(scales()),
        ),
    )
