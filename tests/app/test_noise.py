"""`batchlab.noise` with real processes: where it is measured, and what stops it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.reference.random_streams import random_streams
from tests.reference.small_workloads import adam, small_trial, small_workload, warm_up

from batchlab.app.noise import noise
from batchlab.errors import BudgetError, UsageError, WorkloadError
from batchlab.laws.noise_scale import noise_scale
from batchlab.measure.gradient_noise import NoiseRequest, measure_noise_along
from batchlab.measure.noise import NoisePoint
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.estimate import Reason
from batchlab.records.trial import Trial
from batchlab.workload.definition import Workload


class Said:
    """A line to nobody: what is said is kept."""

    def __init__(self) -> None:
        self.points: list[NoisePoint] = []

    def say(self, point: NoisePoint) -> None:
        self.points.append(point)


def points_of(
    workload: Workload, trial: Trial, *steps: int
) -> tuple[list[NoisePoint], Reason | None]:
    said: Any = Said()
    packed, threads = PackedWorkload(workload), torch.get_num_threads()
    request = NoiseRequest(
        trial=trial, steps=steps, device="cpu", point_s=9.0, memory_limit_bytes=None
    )
    try:
        stopped = measure_noise_along(said, packed, request)
    finally:
        torch.set_num_threads(threads)
    return said.points, stopped


def trial_of(workload: Workload, learning_rate: float = 0.05) -> Trial:
    return small_trial(workload, batch_size=8, learning_rate=learning_rate)


def small(n: int, **fields: Any) -> Workload:
    return replace(small_workload(n=n), batch_size=min(n, 8), **fields)


def test_a_training_goes_on_as_if_nothing_had_been_measured() -> None:
    workload = small_workload(n=60, dropout=0.5)
    trial = trial_of(workload)

    often, _ = points_of(workload, trial, 0, 1, 5, 20)
    once, _ = points_of(workload, trial, 20)

    assert often[-1].sample == once[0].sample
    assert [point.step for point in often] == [0, 1, 5, 20]
    assert often[-1].samples == 20 * 8 - 2 * 4  # the last batch of an epoch has 4
    assert [point.preconditioned for point in often] == [None] * 4


def test_with_adam_its_rescaled_gradients_are_seen_from_its_first_step_on() -> None:
    workload = small(60, optimizer=adam)

    points, _ = points_of(workload, trial_of(workload), 0, 1, 8)

    assert [point.preconditioned is not None for point in points] == [False, True, True]


def test_a_training_that_diverges_ends_with_what_was_seen_before() -> None:
    workload = small(60)

    points, stopped = points_of(workload, trial_of(workload, learning_rate=1e30), 0, 1000)

    assert [point.step for point in points] == [0]
    assert stopped is not None
    assert stopped.code == "metric_not_finite"


@pytest.mark.parametrize(
    ("fields", "given", "said"),
    [
        (
            {"schedule": lambda done: 1 - done, "epochs": 2},
            {"steps": 11},
            r"steps=11: .* 2 epochs, which are 10 steps",
        ),
        ({"validation": None}, {"branches": True}, "which has no validation set, by which branche"),
        ({"scheduler": warm_up}, {"branches": True}, "which has a `scheduler` of its own"),
    ],
)
def test_what_could_not_be_measured_is_refused(fields: Any, given: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        noise(small(40, **fields), **given)


@pytest.mark.slow
def test_branches_measure_the_critical_batch_size_at_the_last_three_points() -> None:
    workload = replace(small_workload(n=400), batch_size=4)

    made = noise(workload, steps=160, branches=True, budget="10m")

    found = [point.critical_batch_size for point in made.along]
    assert [point.step for point in made.along][-3:] == [40, 80, 160]
    assert found[:-3] == [None] * (len(found) - 3)
    assert all(each is not None and each.n > 0 for each in found[-3:])


def test_the_initial_weights_alone_take_no_step_and_nothing_of_the_callers() -> None:
    before = random_streams()

    made = noise(small(60), steps=0)

    assert random_streams() == before
    assert [point.step for point in made.along] == [0]
    assert made.along[0].critical_batch_size is None
    assert made.gradient_noise_scale == noise_scale(made.along[0].sample).scale
    assert made.stopped is None


def test_a_budget_before_the_first_point_and_a_training_set_of_two_are_refused() -> None:
    with pytest.raises(BudgetError, match="give a larger --budget"):
        noise(small(60), budget=0.31)
    with pytest.raises(WorkloadError, match="2 examples; the noise of a gradient takes at least 3"):
        noise(small(2), steps=0)
