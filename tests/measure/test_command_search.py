"""In which order the batch sizes of a command are timed, and where that ends."""

from __future__ import annotations

import math
import random
import time
from dataclasses import replace

import pytest
from tests.reference.made_up_profile import made_up_point
from tests.reference.told import Told

from batchlab.measure.profile import ProfilePoint
from batchlab.measure.profile_search import CommandSearch
from batchlab.records.trial import Status

SIZES = (8, 16, 32, 64, 128)


class Probed:
    """Times batch sizes up to one that does not fit; notes which."""

    def __init__(
        self, *, fits: int = 10**6, broken: tuple[int, ...] = (), log_sd: float = 0.0
    ) -> None:
        self.fits, self.broken = fits, broken
        self.log_sd, self.random = log_sd, random.Random(0)
        self.tried: list[tuple[int, int]] = []
        self.limits_s: list[float] = []

    def __call__(self, batch_size: int, micro_batch_size: int, *, limit_s: float) -> ProfilePoint:
        self.tried.append((batch_size, micro_batch_size))
        self.limits_s.append(limit_s)
        status = Status.OOM if micro_batch_size > self.fits else Status.OK
        status = Status.ERROR if batch_size in self.broken else status
        point = made_up_point(
            batch_size,
            micro_batch_size=micro_batch_size,
            status=status,
            reason="made up to fail",
            median_s=0.001 * math.exp(self.random.gauss(0, self.log_sd)),
        )
        return replace(point, peak_bytes=1000 * micro_batch_size) if point.ran else point


def searched(
    probed: Probed,
    *,
    left_s: float = math.inf,
    limit_bytes: int | None = None,
    can_accumulate: bool = False,
    listener: Told | None = None,
) -> CommandSearch:
    ends_s = time.monotonic() + left_s
    search = CommandSearch(
        probed,
        left_s=lambda: ends_s - time.monotonic(),
        listener=listener or Told(),
        may_accumulate=can_accumulate,
        memory_limit_bytes=limit_bytes,
        first=32,
    )
    search.run(SIZES)
    return search


def test_what_one_trains_with_comes_first_then_its_neighbors_and_all_again() -> None:
    probed = Probed()

    search = searched(probed)

    order = [size for size, _ in probed.tried]
    assert order == [32, 64, 16, 8, 128, 8, 16, 32, 64, 128]
    assert search.stopped is None
    assert all(len(point.timings) == 2 for point in search.points)


def test_the_first_that_does_not_fit_ends_the_growth() -> None:
    probed = Probed(fits=32)

    search = searched(probed)

    assert (128, 128) not in probed.tried
    assert search.stopped == "memory"
    assert {p.batch_size: p.status for p in search.points}[64] is Status.OOM


def test_beyond_memory_a_command_that_accumulates_does() -> None:
    search = searched(Probed(fits=32), can_accumulate=True)

    found = {point.batch_size: point for point in search.points}
    assert (found[64].micro_batch_size, found[64].status) == (32, Status.OK)
    assert (found[128].micro_batch_size, found[128].status) == (32, Status.OK)


def test_a_memory_limit_is_of_the_gpu_where_a_script_used_one() -> None:
    probed = Probed()

    def on_gpu(size: int, micro: int, *, limit_s: float) -> ProfilePoint:
        return replace(
            probed(size, micro, limit_s=limit_s), peak_bytes=10**9, gpu_peak_bytes=1000 * micro
        )

    search = searched(on_gpu, limit_bytes=40_000)  # type: ignore[arg-type]

    found = {point.batch_size: point for point in search.points}
    assert found[32].ran
    assert found[32].gpu_peak_bytes == 32_000
    assert found[64].status is Status.OOM
    assert found[64].reason is not None
    assert dict(found[64].reason.values)["peak_bytes"] == 64_000


def test_the_first_leaves_the_second_as_much_time() -> None:
    probed = Probed()

    searched(probed, left_s=60.0).run(SIZES)

    first, second, *_ = probed.limits_s
    assert 20.0 < first < 30.0
    assert second > first


def test_what_scatters_from_start_to_start_is_started_until_its_step_time_is_known() -> None:
    quiet, noisy, hopeless = (searched(Probed(log_sd=log_sd)) for log_sd in (0.01, 0.05, 1.0))

    starts = [
        {len(point.timings) for point in search.points} for search in (quiet, noisy, hopeless)
    ]
    assert starts[0] == {2}
    assert len(starts[1]) == 1
    assert 2 < min(starts[1]) < 12
    assert starts[2] == {12}


def test_without_time_the_rest_is_not_tried() -> None:
    probed, told = Probed(), Told()

    search = searched(probed, left_s=0.0, listener=told)

    assert probed.tried == []
    assert search.stopped == "time"
    assert any("give a larger --budget" in warning for warning in told.warnings)


@pytest.mark.parametrize("broken", [(64,), (64, 128)])
def test_a_batch_size_that_fails_is_kept_with_its_reason(broken: tuple[int, ...]) -> None:
    search = searched(Probed(broken=broken))

    found = {point.batch_size: point for point in search.points}
    assert {size for size in found if not found[size].ran} == set(broken)
