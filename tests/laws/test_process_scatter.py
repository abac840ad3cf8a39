"""How far processes lie apart, and step times whose intervals take that into account."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.step_time_coverage import process_coverage
from tests.reference.made_up_profile import made_up_point, made_up_profile
from tests.reference.step_time import PROCESSES

from batchlab.errors import ProfileError
from batchlab.laws.step_time import ProcessScatter
from batchlab.measure.profile import Profile, ProfilePoint
from batchlab.records.estimate import Estimate

STEADY = (1.0,) * 15


def twice(batch_size: int, first_s: float, second_s: float) -> ProfilePoint:
    one, other = (
        made_up_point(batch_size, median_s=step_s, scatter=STEADY) for step_s in (first_s, second_s)
    )
    return replace(one, again=(other.timing,))


def width(profile: Profile, batch_size: int) -> float:
    (point,) = [point for point in profile.points if point.batch_size == batch_size]
    timed = profile.timed_s(point)
    assert timed.low is not None
    assert timed.high is not None
    return math.log(timed.high / timed.low)


@pytest.mark.parametrize("n", [1, 2, 4, 9])
def test_a_scatter_known_exactly_gives_the_interval_of_a_mean(n: int) -> None:
    known = ProcessScatter(log_sd=0.1, degrees=1e9, n_sizes=100)

    seen = known.of_size([0.01] * n, Estimate.of(0.01, interval=(None, None), n=15))

    assert seen.high == pytest.approx(0.01 * math.exp(1.96 * 0.1 / math.sqrt(n)), rel=1e-4)
    assert seen.low == pytest.approx(0.01 * math.exp(-1.96 * 0.1 / math.sqrt(n)), rel=1e-4)
    assert seen.n == n


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_any_number_of_processes_tells_the_scatter(n: int) -> None:
    rng = np.random.default_rng(n)
    times = [np.exp(rng.normal(0, 0.1, n)).tolist() for _ in range(3001)]

    scatter = ProcessScatter.of(times)

    assert scatter is not None
    assert scatter.log_sd == pytest.approx(0.1, rel=0.06)


def test_the_only_batch_size_timed_twice_has_students_interval() -> None:
    """Its difference is all there is, and counts once: t with one degree of freedom."""
    profile = made_up_profile(twice(64, 0.01, 0.011))

    seen = profile.timed_s(profile.points[0])

    half = 12.706 * math.log(1.1) / 2
    assert seen.high == pytest.approx(math.sqrt(0.01 * 0.011) * math.exp(half), rel=1e-3)


def test_a_drift_in_any_process_is_told() -> None:
    steady = made_up_point(64, scatter=STEADY)
    drifting = made_up_point(64, scatter=[1.0] * 7 + [1.3] * 8)

    assert not steady.drifted
    assert replace(steady, again=(drifting.timing,)).drifted


def test_the_time_of_two_processes_is_their_geometric_mean() -> None:
    point = twice(64, 0.01, 0.04)

    assert point.step_s.estimate == pytest.approx(0.02)
    assert point.samples_per_s == pytest.approx(64 / 0.02)


def test_a_size_whose_processes_lie_far_apart_is_told_so_and_the_others_are_not() -> None:
    calm = [twice(2**power, 0.01, 0.0101) for power in range(10)]
    odd = twice(1024, 0.01, 0.016)

    alone, together = made_up_profile(*calm), made_up_profile(*calm, odd)

    assert width(together, 64) < 1.2 * width(alone, 64)
    assert width(together, 1024) > 10 * width(together, 64)
    low, high = together.timed_s(odd).low, together.timed_s(odd).high
    assert low is not None
    assert high is not None
    assert low <= 0.01
    assert high >= 0.016


@pytest.mark.slow
@pytest.mark.parametrize("name", PROCESSES)
def test_the_interval_of_a_step_time_holds_what_its_steps_truly_take(name: str) -> None:
    held = process_coverage(PROCESSES[name], n_profiles=40, seed=1)

    # Sizes of one profile share their scatter: as good as about 200 independent ones.
    least = 0.95 - 3 * math.sqrt(0.95 * 0.05 / 200)
    assert held["with their scatter"][0] > least
    assert held["and the law"][0] > least


def test_both_timings_travel_with_the_profile() -> None:
    profile = made_up_profile(*(twice(2**power, 0.01, 0.012) for power in range(10)))

    read = Profile.from_json(profile.to_json())

    assert read == profile
    assert profile.to_dict()["process_log_sd"] == pytest.approx(
        math.log(1.2) / (math.sqrt(2) * 0.6744898)
    )


def test_a_damaged_further_timing_is_refused_by_its_place() -> None:
    document = made_up_profile(*(twice(2**power, 0.01, 0.012) for power in range(4))).to_dict()
    document["points"][2]["again"][0]["block_s"][1] = -1.0

    with pytest.raises(ProfileError, match=r"points\[2\]\.again\[0\]\.block_s"):
        Profile.from_dict(document)
