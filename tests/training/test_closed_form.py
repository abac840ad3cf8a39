"""Least squares through the whole engine ends where the formulas say, for every batch size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.reference.by_day import by_day
from tests.reference.engine_run import run_engine
from tests.reference.least_squares import expected_excess_loss, stationary_excess_loss
from tests.reference.small_workloads import small_trial

from batchlab.records.run import RunLength
from batchlab.records.trial import Evaluation, Sampling, Status
from batchlab.workload.builtin import least_squares
from batchlab.workload.definition import Workload

# By then what is left of the start is e^-15 of it: two steps shrink each direction's squared
# distance by at least 1 - 2 x 0.1 x 0.5.
BURN_IN_STEPS = 150
SEEDS = 8
BOUNCES = [(1, 150), (4, 400), (16, 1500)]


def only_trained(**settings: float) -> Workload:
    """Least squares evaluated on its training set alone, whose optimum is the known one."""
    workload = least_squares.workload(**settings)  # type: ignore[arg-type]
    return replace(workload, validation=None, test=None)


def excess_losses(workload: Workload, evaluations: tuple[Evaluation, ...]) -> list[float]:
    """The train loss above the optimum's, at each evaluation after burn-in."""
    best = least_squares.optimum(*workload.train).loss
    found = [
        (evaluation.step, evaluation.score("train", "loss"))
        for evaluation in evaluations
        if evaluation.score("train", "loss") is not None
    ]
    return [loss - best for step, loss in found if loss is not None and step > BURN_IN_STEPS]


@pytest.mark.slow
def test_full_batches_reach_the_optimum(tmp_path: Path) -> None:
    workload = least_squares.workload()
    trial = small_trial(workload, batch_size=1000, learning_rate=1.0)

    run = run_engine(workload, trial, RunLength(epochs=200), checkpoint=tmp_path / "c")

    optimum = least_squares.optimum(*workload.train)
    assert run.outcome.status is Status.OK
    assert run.evaluations[-1].score("train", "loss") == pytest.approx(optimum.loss, abs=1e-12)
    weights = run.parameters()["weight"].squeeze(0)
    assert torch.allclose(weights, optimum.weights, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("batch_size", "epochs"), by_day(BOUNCES, [BOUNCES[-1]]))
def test_at_a_constant_rate_the_loss_bounces_as_high_as_the_formula_says(
    batch_size: int, epochs: int
) -> None:
    workload = only_trained(n=32, dimension=6, condition_number=2.0)
    x, y = (part.numpy() for part in workload.train)
    expected = stationary_excess_loss(x, y, learning_rate=0.1, batch_size=batch_size)

    means = []
    for seed in range(SEEDS):
        trial = small_trial(
            workload,
            batch_size=batch_size,
            learning_rate=0.1,
            sampling="replacement",
            seed=seed,
        )
        run = run_engine(workload, trial, RunLength(epochs=epochs))
        assert run.outcome.status is Status.OK
        means.append(np.mean(excess_losses(workload, run.evaluations)))

    standard_error = np.std(means, ddof=1) / SEEDS**0.5
    assert abs(np.mean(means) - expected) < 4 * standard_error
    assert np.mean(means) == pytest.approx(expected, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("sampling", ["replacement", "reshuffle"])
def test_only_independent_draws_obey_that_formula(sampling: Sampling) -> None:
    """Half of all examples a step: drawn without replacement they bounce about half as high."""
    workload = only_trained(n=32, dimension=6, condition_number=2.0)
    x, y = (part.numpy() for part in workload.train)
    expected = stationary_excess_loss(x, y, learning_rate=0.1, batch_size=16)
    trial = small_trial(workload, batch_size=16, learning_rate=0.1, sampling=sampling)

    run = run_engine(workload, trial, RunLength(epochs=1500))

    ratio = np.mean(excess_losses(workload, run.evaluations)) / expected
    assert (ratio > 0.75) == (sampling == "replacement")


@pytest.mark.slow
def test_after_a_few_steps_the_expected_loss_is_the_exact_one() -> None:
    workload = only_trained(n=16, dimension=2, condition_number=2.0)
    x, y = (part.numpy() for part in workload.train)
    expected = [
        expected_excess_loss(x, y, learning_rate=0.2, batch_size=8, steps=steps)
        for steps in range(5)
    ]
    best = least_squares.optimum(*workload.train).loss
    trial = small_trial(workload, batch_size=8, learning_rate=0.2, sampling="replacement")

    curves = np.array(
        [
            [
                evaluation.score("train", "loss")
                for evaluation in run_engine(
                    workload, replace(trial, seed=seed), RunLength(epochs=2)
                ).evaluations
                if evaluation.score("train", "loss") is not None
            ]
            for seed in range(150)
        ]
    )

    standard_errors = curves.std(axis=0, ddof=1) / len(curves) ** 0.5
    assert curves.shape[1] == 3  # the untrained model and two epoch ends
    assert curves[0, 0] - best == pytest.approx(expected[0], rel=1e-12)
    assert (abs(curves.mean(axis=0) - best - expected[::2]) <= 4 * standard_errors + 1e-12).all()
