"""Points of a profile: step times with intervals from their blocks, and drifts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.reference.made_up_profile import made_up_point, step_s

from batchlab.records.trial import Status
from batchlab.words.reasons import reason_text


def test_the_step_time_is_the_median_over_the_blocks() -> None:
    point = made_up_point(100, scatter=(1.0, 1.0, 1.0, 1.0, 9.0), median_s=0.5)

    assert point.step_s.estimate == pytest.approx(0.5)
    assert point.step_s.n == 5
    assert point.samples_per_s == pytest.approx(200)
    alone = made_up_point(100, scatter=(1.0,)).step_s
    assert (alone.low, alone.high, alone.n) == (None, None, 1)


@pytest.mark.parametrize("n", [2, 3, 5, 6, 8, 12, 20])
def test_the_interval_of_a_step_time_holds_the_truth_95_times_in_100(n: int) -> None:
    rng = np.random.default_rng(0)
    n_draws, held = 1000, 0
    for _ in range(n_draws):
        step = made_up_point(64, scatter=np.exp(rng.normal(0.0, 0.1, n)).tolist()).step_s
        assert step.low is not None
        assert step.high is not None
        held += step.low <= step_s(64) <= step.high

    # At least 95 %, less four standard errors of 1000 draws; order statistics give more.
    assert held / n_draws > 0.95 - 4 * math.sqrt(0.95 * 0.05 / n_draws)


def test_the_interval_of_many_blocks_is_narrower_than_their_range() -> None:
    scatter = [1 + 0.01 * i for i in range(21)]

    step = made_up_point(64, scatter=scatter).step_s

    # Of 21 ordered blocks, the 6th from both ends (binomial tables).
    assert step.low == pytest.approx(step_s(64) * 1.05)
    assert step.high == pytest.approx(step_s(64) * 1.15)


def test_a_point_that_did_not_run_has_no_time_but_a_reason() -> None:
    point = made_up_point(64, status=Status.OOM, reason="memory ran out")

    assert point.step_s.estimate is None
    assert "memory ran out" in reason_text(point.step_s.reason)
    assert point.samples_per_s is None
    assert not point.ran


@pytest.mark.parametrize(
    ("scatter", "expected"),
    [
        ((1.0, 1.01, 1.0, 1.0, 1.2, 1.21, 1.2, 1.22), True),
        ((1.2, 1.21, 1.2, 1.22, 1.0, 1.01, 1.0, 1.0), True),
        ((1.0, 1.2, 1.0, 1.2, 1.0, 1.2, 1.0, 1.2), False),
        ((1.0, 1.0, 1.0, 1.0, 1.01, 1.01, 1.01, 1.01), False),
        ((1.0, 1.0, 1.0, 1.5, 1.1, 1.1, 1.1, 1.1), False),
        ((1.0, 1.5, 1.0), None),
    ],
)
def test_a_drift_is_seen_between_the_halves_of_the_blocks(
    scatter: tuple[float, ...], expected: bool | None
) -> None:
    assert made_up_point(64, scatter=scatter).drifted is expected


def test_steady_blocks_are_hardly_ever_taken_for_a_drift() -> None:
    rng = np.random.default_rng(1)
    drifted = [
        made_up_point(64, scatter=np.exp(rng.normal(0.0, 0.02, 8)).tolist()).drifted
        for _ in range(1000)
    ]

    assert sum(map(bool, drifted)) < 30  # 2 of the 70 ways to halve eight blocks, and 5 % apart
