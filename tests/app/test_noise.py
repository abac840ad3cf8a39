"""`batchlab.noise` with real processes: where it is measured, and what stops it."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.reference.random_streams import random_streams
from tests.reference.small_workloads import small_trial, small_workload

from batchlab.app.noise import noise
from batchlab.errors import BudgetError, UsageError, WorkloadError
from batchlab.measure.gradient_noise import measure_noise_along
from batchlab.measure.noise import NoisePoint
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.estimate import Reason
from batchlab.workload.definition import Workload


def small(n: int, **fields: Any) -> Workload:
    return replace(small_workload(n=n), batch_size=min(n, 8), **fields)


def points_of(
    workload: Workload, *steps: int, learning_rate: float = 0.05
) -> tuple[list[NoisePoint], Reason | None]:
    points: list[NoisePoint] = []
    nobody: Any = SimpleNamespace(say=points.append)
    packed, threads = PackedWorkload(workload), torch.get_num_threads()
    trial = small_trial(workload, batch_size=8, learning_rate=learning_rate)
    try:
        stopped = measure_noise_along(nobody, packed, trial, steps, "cpu", 9.0, None)
    finally:
        torch.set_num_threads(threads)
    return points, stopped


def test_a_training_goes_on_as_if_nothing_had_been_measured():
    workload = small_workload(n=60, dropout=0.5)

    often, _ = points_of(workload, 0, 1, 5, 20)
    once, _ = points_of(workload, 20)

    assert often[-1] == once[0]
    assert [point.step for point in often] == [0, 1, 5, 20]
    assert often[-1].samples == 20 * 8 - 2 * 4  # the last batch of an epoch has 4
    # One that diverges ends with what was seen before.
    points, stopped = points_of(small(60), 0, 1000, learning_rate=1e30)
    assert [point.step for point in points] == [0]
    assert stopped.code == "metric_not_finite"


@pytest.mark.parametrize(
    ("n", "fields", "given", "error", "said"),
    [
        (
            40,
            {"schedule": lambda done: 1 - done, "epochs": 2},
            {"steps": 11},
            UsageError,
            r"steps=11: .* 2 epochs, which are 10 steps",
        ),
        (60, {}, {"budget": 0.31}, BudgetError, "give a larger --budget"),
        (2, {}, {"steps": 0}, WorkloadError, "2 examples; the noise of a gradient takes at"),
    ],
)
def test_what_could_not_be_measured_is_refused_and_the_caller_is_as_before(
    n, fields, given, error, said
):
    before = random_streams()

    with pytest.raises(error, match=said):
        noise(small(n, **fields), **given)
    assert random_streams() == before
