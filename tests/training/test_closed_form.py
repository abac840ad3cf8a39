"""Least squares through the whole engine ends where the formulas say, for every batch size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.reference.engine_run import run_engine
from tests.reference.least_squares import expected_excess_loss
from tests.reference.small_workloads import small_trial

from batchlab.records.run import RunLength
from batchlab.workload.builtin import least_squares
from batchlab.workload.definition import Workload


def only_trained(**settings: float) -> Workload:
    """Least squares evaluated on its training set alone, whose optimum is the known one."""
    workload = least_squares.workload(**settings)  # type: ignore[arg-type]
    return replace(workload, validation=None, test=None)


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
