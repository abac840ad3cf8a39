"""The memory law: known lines come back, intervals hold the truth, too little is not told."""

from __future__ import annotations

import math

import numpy as np
import pytest

from batchlab.errors import UsageError
from batchlab.laws.lines import fit_memory
from batchlab.words.reasons import reason_text

SIZES = (1, 4, 16, 64, 256, 1024)


def test_a_line_without_scatter_comes_back() -> None:
    fit = fit_memory([(size, 50_000_000 + 3_000 * size) for size in SIZES])

    assert fit.fixed_bytes.estimate == pytest.approx(50_000_000, rel=1e-9)
    assert fit.bytes_per_example.estimate == pytest.approx(3_000, rel=1e-6)
    assert fit.predicted_bytes(100).estimate == pytest.approx(50_300_000)


@pytest.mark.parametrize(("limit", "largest"), [(50_299_999, 99), (50_300_000, 100), (10, 0)])
def test_the_largest_that_is_predicted_to_fit_is_within_the_limit(limit: int, largest: int) -> None:
    fit = fit_memory([(size, 50_000_000 + 3_000 * size) for size in (1, 1001)])

    assert fit.largest_batch_size(limit) == largest


def test_the_intervals_hold_the_truth_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    n_draws, held = 600, [0, 0]
    for _ in range(n_draws):
        noise = rng.normal(0, 2e6, len(SIZES))
        fit = fit_memory(
            [(b, round(50e6 + 3e4 * b + e)) for b, e in zip(SIZES, noise, strict=True)]
        )
        for place, (estimate, truth) in enumerate(
            ((fit.fixed_bytes, 50e6), (fit.bytes_per_example, 3e4))
        ):
            assert estimate.low is not None
            assert estimate.high is not None
            held[place] += estimate.low <= truth <= estimate.high

    standard_error = math.sqrt(0.95 * 0.05 / n_draws)
    assert all(abs(count / n_draws - 0.95) < 4 * standard_error for count in held)


def test_the_interval_of_a_size_that_did_not_run_holds_its_peak_95_times_in_100() -> None:
    rng = np.random.default_rng(1)
    n_draws, held = 600, 0
    for _ in range(n_draws):
        *noise, further = rng.normal(0, 2e6, len(SIZES) + 1)
        peaks = [(b, round(50e6 + 3e4 * b + e)) for b, e in zip(SIZES, noise, strict=True)]
        held += fit_memory(peaks).predicted_bytes(4096).holds(50e6 + 3e4 * 4096 + further)

    standard_error = math.sqrt(0.95 * 0.05 / n_draws)
    assert abs(held / n_draws - 0.95) < 4 * standard_error


@pytest.mark.parametrize("points", [[], [(8, 1000)], [(8, 1000), (8, 1010)]])
def test_one_batch_size_is_no_line(points: list[tuple[int, int]]) -> None:
    fit = fit_memory(points)

    assert fit.fixed_bytes.estimate is None
    assert "a line needs two" in reason_text(fit.bytes_per_example.reason)
    assert fit.predicted_bytes(8).reason == fit.fixed_bytes.reason
    assert fit.largest_batch_size(10**9) is None


def test_two_batch_sizes_give_a_line_without_bounds() -> None:
    fit = fit_memory([(1, 1_000), (11, 2_000)])

    assert fit.bytes_per_example.estimate == pytest.approx(100)
    assert (fit.bytes_per_example.low, fit.bytes_per_example.high) == (None, None)
    assert (fit.predicted_bytes(21).low, fit.predicted_bytes(21).high) == (None, None)


def test_a_line_that_does_not_rise_predicts_no_limit() -> None:
    fit = fit_memory([(1, 2_000), (2, 1_500), (3, 1_000)])

    assert fit.bytes_per_example.estimate == pytest.approx(-500)
    assert fit.largest_batch_size(10**9) is None


@pytest.mark.parametrize("point", [(0, 10), (1, -1)])
def test_impossible_points_are_refused(point: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="expected a batch size of at least 1"):
        fit_memory([point, (2, 20)])
