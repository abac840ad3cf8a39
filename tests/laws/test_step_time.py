"""The law of the step time, and how far processes lie apart: bounds hold the truth or say so."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from benchmarks.step_time_coverage import process_coverage
from tests.reference.by_day import by_day
from tests.reference.made_up_profile import made_up_point, made_up_profile
from tests.reference.step_time import PROCESSES, STUDIES, fit_by_search, law

from batchlab.laws.step_time import ProcessScatter, fit_step_time, timed_in_turn
from batchlab.measure.profile import Profile, ProfilePoint, ratio_in_turn
from batchlab.records.estimate import Estimate

SIZES = tuple(2**power for power in range(14))
CPU, GPU = STUDIES["a CPU, 14 sizes"], STUDIES["a GPU, 14 sizes"]


def exactly(sizes: Sequence[int], *, sharpness: float = 1) -> list[tuple[int, Estimate]]:
    return [
        (size, known(law(size, overhead_s=1e-3, s_per_example=1e-5, sharpness=sharpness)))
        for size in sizes
    ]


def known(seconds: float) -> Estimate:
    return Estimate.of(seconds, interval=(None, None), n=1)


@pytest.mark.parametrize("sharpness", [0.75, 1, 2, 5])
def test_a_law_without_scatter_comes_back(sharpness):
    fit = fit_step_time(exactly(SIZES, sharpness=sharpness))

    found = [fit.overhead_s, fit.s_per_example, fit.knee_batch_size, fit.sharpness]
    assert [one.estimate for one in found] == pytest.approx([1e-3, 1e-5, 100, sharpness], rel=1e-5)
    assert fit.max_residual_fraction < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_the_point_is_the_weighted_least_squares_of_a_general_search(seed):
    random = np.random.default_rng(seed)
    points = replace(CPU, sizes=SIZES[: 6 + 2 * seed]).draw(random)
    fit = fit_step_time(points)

    own_sds = [math.log(time.high / time.low) / 3.919928 for _, time in points]
    weights = [1 / (fit.off_the_law_fraction**2 + sd**2) for sd in own_sds]
    searched = fit_by_search([(size, t.estimate or 0) for size, t in points], weights)

    found = [one.estimate for one in (fit.overhead_s, fit.s_per_example, fit.sharpness)]
    assert found[:2] == pytest.approx(searched[:2], rel=1e-4)
    assert found[2] == pytest.approx(searched[2], rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", by_day(STUDIES, ("a CPU, 14 sizes",)))
def test_the_intervals_hold_the_truth_at_least_92_times_in_100(name):
    study, random, n_draws = STUDIES[name], np.random.default_rng(3), 100
    middle = study.sizes[len(study.sizes) // 2]
    told = ("overhead_s", "s_per_example", "knee_batch_size")
    held = np.zeros(4)
    for _ in range(n_draws):
        fit = fit_step_time(study.draw(random))
        held[:3] += [getattr(fit, name).holds(getattr(study, name)) for name in told]
        held[3] += fit.step_s(middle).holds(study.step_s(middle))

    assert held.min() / n_draws >= 0.92 - 3 * math.sqrt(0.92 * 0.08 / n_draws)


def test_times_that_do_not_show_the_knee_bound_it_at_most():
    """They never grow, grow from the first example on, or scatter too much."""
    flat = fit_step_time(replace(GPU, sizes=SIZES[:8]).draw(np.random.default_rng(0)))
    steep = replace(CPU, sizes=SIZES[4:], overhead_s=1e-7).draw(np.random.default_rng(0))
    grows = fit_step_time(steep)
    wide = {1: 1.0, 2: 3.0, 4: 0.7, 8: 2.5}.items()
    hidden = fit_step_time(
        [(size, Estimate.of(t, interval=(t / 5, 5 * t), n=3)) for size, t in wide]
    )

    knees = [fit.knee_batch_size for fit in (flat, grows, hidden)]
    assert [(knee.estimate, knee.low is None, knee.high is None) for knee in knees] == [
        (None, False, True), (None, True, False), (None, True, True)
    ]  # fmt: skip
    codes = [knee.reason.code for knee in knees]
    assert codes == ["outside_measured", "outside_measured", "scatter_too_much"]
    assert 64 < flat.knee_batch_size.low < 1000
    assert flat.s_per_example.estimate is None
    assert flat.s_per_example.high > 1e-6
    assert flat.overhead_s.holds(1e-3)
    assert grows.knee_batch_size.high < 32
    assert grows.overhead_s.estimate is None
    assert grows.s_per_example.holds(1e-6)


def test_a_bound_that_misses_its_time_by_a_rounding_is_taken():
    bound = math.nextafter(1.0, 2.0)
    time = Estimate.of(1.0, interval=(bound, bound), n=2)

    fit = fit_step_time([(1, time), (2, time), (4, time)])

    assert fit.step_s(2).estimate == pytest.approx(1)


@pytest.mark.parametrize("seed", range(5))
def test_a_measured_time_and_the_law_share_by_their_variances(seed):
    points = replace(CPU, block_sd=0.3).draw(np.random.default_rng(seed))
    fit = fit_step_time(points)

    for size, time in points:
        own_sd = math.log(time.high / time.low) / (2 * 1.959964)
        weights = 1 / own_sd**2, 1 / fit.off_the_law_fraction**2
        logs = np.log([time.estimate, fit.step_s(size).estimate])
        expected = math.exp(np.average(logs, weights=weights))
        assert fit.measured_step_s(size).estimate == pytest.approx(expected)


def twice(batch_size: int, first_s: float, second_s: float) -> ProfilePoint:
    of = partial(made_up_point, batch_size, scatter=(1.0,) * 15)
    return replace(of(median_s=first_s), again=(of(median_s=second_s).timing,))


def width(profile: Profile, batch_size: int) -> float:
    timed = profile.timed_s(next(p for p in profile.points if p.batch_size == batch_size))
    return math.log(timed.high / timed.low)


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_any_number_of_processes_tells_the_scatter(n):
    """Known exactly, it gives the interval of a mean."""
    rng = np.random.default_rng(n)
    times = [np.exp(rng.normal(0, 0.1, n)).tolist() for _ in range(3001)]
    exact = ProcessScatter(log_sd=0.1, degrees=1e9, n_sizes=100)

    seen = exact.of_size([0.01] * n, known(0.01))

    assert ProcessScatter.of(times).log_sd == pytest.approx(0.1, rel=0.06)
    half = math.exp(1.96 * 0.1 / math.sqrt(n))
    assert (seen.low, seen.high) == pytest.approx((0.01 / half, 0.01 * half), rel=1e-4)
    assert seen.n == n


def test_the_only_batch_size_timed_twice_has_students_interval():
    """Its difference is all there is, and counts once: t with one degree of freedom."""
    profile = made_up_profile(twice(64, 0.01, 0.011))

    seen = profile.timed_s(profile.points[0])

    assert seen.estimate == pytest.approx(math.sqrt(0.01 * 0.011))  # their geometric mean
    half = 12.706 * math.log(1.1) / 2
    assert seen.high == pytest.approx(math.sqrt(0.01 * 0.011) * math.exp(half), rel=1e-3)


def test_a_size_whose_processes_lie_far_apart_is_told_so_and_the_others_are_not():
    calm = [twice(2**power, 0.01, 0.0101) for power in range(10)]
    odd = twice(1024, 0.01, 0.016)

    alone, together = made_up_profile(*calm), made_up_profile(*calm, odd)

    assert width(together, 64) < 1.2 * width(alone, 64)
    assert width(together, 1024) > 10 * width(together, 64)
    assert together.timed_s(odd).low <= 0.01 < 0.016 <= together.timed_s(odd).high


def give_or_take(step_s: float, *, sd: float) -> Estimate:
    return Estimate.of_log(math.log(step_s), 1.96 * sd, n=2)


def test_a_load_on_the_timing_of_one_batch_size_is_seen_where_both_take_turns():
    """Both take 1 ms; the first was timed at 2 ms."""
    first, second = give_or_take(2e-3, sd=0.02), give_or_take(1e-3, sd=0.02)

    one, other, ratio_sd = timed_in_turn(first, second, give_or_take(0.99, sd=0.03))

    assert other.estimate == pytest.approx(one.estimate, rel=0.02)
    assert ratio_sd < 0.05
    # Which of the two was off is not known.
    assert one.low < 1e-3 < 2e-3 < one.high
    assert other.low < 1e-3 < 2e-3 < other.high
    # A ratio that says the same narrows what was known.
    one, other, ratio_sd = timed_in_turn(second, first, give_or_take(2.0, sd=0.03))
    assert (one.estimate, other.estimate) == pytest.approx((1e-3, 2e-3))
    assert ratio_sd == pytest.approx((1 / (1 / 0.03**2 + 1 / (2 * 0.02**2))) ** 0.5, rel=1e-3)


@pytest.mark.parametrize(("load", "turns"), [(0.0, 13), (0.3, 13), (0.3, 4)])
def test_the_ratio_of_two_that_took_turns_holds_the_truth_on_a_busy_machine(load, turns):
    """Apart each was timed beside a load that doubles it, or not; in turn, blocks scatter."""
    rng, held, n = np.random.default_rng(0), 0, 400
    for _ in range(n):
        first, second = (give_or_take(2.0 ** rng.integers(2), sd=0.03) for _ in range(2))
        processes = [
            np.exp(rng.normal(0, 0.02) + rng.normal(0, 0.02 + load, turns)).tolist()
            for _ in range(rng.integers(1, 5))
        ]
        one, other, ratio_sd = timed_in_turn(first, second, ratio_in_turn(processes))
        held += abs(math.log(other.estimate / one.estimate)) <= 1.96 * ratio_sd

    assert held / n > 0.92


@pytest.mark.slow
@pytest.mark.parametrize("name", by_day(PROCESSES, ["a CPU, 14 sizes"]))
def test_the_interval_of_a_step_time_holds_what_its_steps_truly_take(name):
    held = process_coverage(PROCESSES[name], n_profiles=40, seed=1)

    # Sizes of one profile share their scatter: as good as about 200 independent ones.
    least = 0.95 - 3 * math.sqrt(0.95 * 0.05 / 200)
    assert min(held[each][0] for each in ("with their scatter", "and the law")) > least
