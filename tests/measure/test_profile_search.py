"""The search for what fits, on a made-up machine: no processes, no PyTorch, a clock of its own."""

import itertools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from tests.reference.made_up_profile import FIXED_BYTES, MadeUpMachine, peak_bytes, untried_profile
from tests.reference.told import Told

from batchlab.measure.profile import Profile, ProfilePoint
from batchlab.measure.profile_search import ProfileSearch, default_batch_sizes
from batchlab.records.estimate import Reason
from batchlab.records.trial import Status

N_TRAIN = 10_000
USUAL = default_batch_sizes(N_TRAIN, reference_batch_size=64)


def searched(
    machine: MadeUpMachine,
    sizes: Sequence[int] = USUAL,
    *,
    first: int | None = None,
    memory_limit_bytes: int | None = None,
    told: Told | None = None,
    **given: Any,
) -> Profile:
    """Search within the budget, with a fraction done that only grows."""
    told = told or Told()
    untried = untried_profile(N_TRAIN, batch_size=first, memory_limit_bytes=memory_limit_bytes)
    search = ProfileSearch(machine, untried, left_s=machine.left_s, listener=told, **given)

    profile = search.run(sizes)

    assert machine.left_s() >= 0
    assert told.fractions == sorted(told.fractions)
    return profile


def whole(profile: Profile) -> dict[int, ProfilePoint]:
    return {point.batch_size: point for point in profile.points if point.in_one_piece}


def largest(profile: Profile) -> int:
    return max(size for size, point in whole(profile).items() if point.ran)


class Changed(MadeUpMachine):
    """A machine of which each point is changed."""

    def __init__(self, change: Callable[[ProfilePoint], ProfilePoint], **given: Any) -> None:
        super().__init__(**given)
        self._change = change

    def __call__(self, *sizes: int, **limits: float) -> ProfilePoint:
        return self._change(super().__call__(*sizes, **limits))


def slower(point: ProfilePoint, factor: float) -> ProfilePoint:
    if point.timing is None:
        return point
    blocks = tuple(factor * block for block in point.timing.block_s)
    return replace(point, timing=replace(point.timing, block_s=blocks))


def wavering(*, sd: float, **given: Any) -> MadeUpMachine:
    """Every process takes another time."""
    stream = random.Random(0)
    return Changed(lambda point: slower(point, math.exp(stream.gauss(0, sd))), **given)


def test_the_sizes_double_up_to_the_training_set_which_is_the_last():
    sizes = default_batch_sizes(1000, reference_batch_size=50)

    assert sizes == (1, 2, 4, 8, 16, 32, 50, 64, 128, 256, 512, 1000)
    assert default_batch_sizes(37, reference_batch_size=64) == (1, 2, 4, 8, 16, 32, 37)


# Memory


@pytest.mark.parametrize("fits", [3, 17, 20, 100, 129, 700, 1023, 1025, 5000, 9999])
@pytest.mark.parametrize("given", [{}, {"first": 64}])
def test_the_largest_that_fits_is_found_within_a_quarter_and_was_run(fits, given):
    """By doubling, or from one that may not fit."""
    machine = MadeUpMachine(room_bytes=peak_bytes(fits))

    profile = searched(machine, **given)

    assert fits / 1.25 - 1 <= largest(profile) <= fits
    assert (largest(profile), largest(profile)) in machine.probed
    assert profile.stopped == "memory"
    # Larger ones are accumulated.
    assert set(USUAL) <= {point.batch_size for point in profile.points if point.ran}


def test_micro_batches_are_equal_and_at_most_half_of_what_fits():
    profile = searched(MadeUpMachine(room_bytes=peak_bytes(1000)))

    in_pieces = [point for point in profile.points if not point.in_one_piece]
    assert [point.batch_size for point in in_pieces] == [1024, 2048, 4096, 8192, N_TRAIN]
    for point in in_pieces:
        assert point.ran
        assert point.accumulation_steps == math.ceil(point.batch_size / (largest(profile) // 2))
        last = point.batch_size - (point.accumulation_steps - 1) * point.micro_batch_size
        assert 0.9 * point.micro_batch_size < last <= point.micro_batch_size <= 500
    # A step that takes whole batches is never given pieces.
    told = Told()
    whole_only = searched(
        MadeUpMachine(room_bytes=peak_bytes(1000)), told=told, may_accumulate=False
    )
    assert {point.accumulation_steps for point in whole_only.points} == {1}
    assert whole_only.stopped == "memory"
    assert f"above {largest(whole_only)} do not fit in memory" in told.warnings[-1]


# Bad ends and time


def goes_wrong(status: Status, *, at: range) -> dict[str, Any]:
    return {"goes_wrong": lambda size: status if size in at else None}


SLOW = {"seconds": lambda size: 1e-3 * size}  # a step of all examples takes 10 s
FEW_SIZES = {"sizes": (8, 16, 32, 64, 128, 256), "first": 32}
SIZES = (8, 16, 32, 64, 128)
COMMAND = {"sizes": SIZES, "is_command": True, "first": 32, "may_accumulate": False}
# The machine, the search, why it stopped, the largest size that was tried, those that do not run.
ENDS: dict[str, tuple[dict[str, Any], dict[str, Any], str | None, int, set[int]]] = {
    "nothing fits": ({"room_bytes": FIXED_BYTES // 2}, {}, "memory", 1, {1}),
    "errors": (goes_wrong(Status.ERROR, at=range(64, N_TRAIN)), {}, "errors", 128, {64, 128}),
    "hangs": (goes_wrong(Status.TIMEOUT, at=range(64, N_TRAIN)), {}, "errors", 128, {64, 128}),
    # A hang takes its own time limit, and is not held against what the budget cuts off.
    "hang": (
        {**goes_wrong(Status.TIMEOUT, at=range(8, 9)), "budget_s": 60.0}, {}, None, N_TRAIN, {8}
    ),
    "cut off": (
        {**goes_wrong(Status.TIMEOUT, at=range(8, 9)), "budget_s": 8.0}, {}, "time", 4, set()
    ),
    "5 s": ({**SLOW, "budget_s": 5.0}, {}, "time", 128, set()),
    "60 s": ({**SLOW, "budget_s": 60.0}, {}, "time", 4096, set()),
    # The workload's own size comes before smaller ones.
    "time for few": ({"budget_s": 1.5}, FEW_SIZES, "time", 128, set()),
    # What is accumulated does not undo the limit that was found.
    "time while accumulating": (
        {**SLOW, "room_bytes": peak_bytes(1000), "budget_s": 50.0}, {}, "memory", 2048, {1024}
    ),
    "command without time": ({"budget_s": 0.0}, COMMAND, "time", 0, set()),
    "command without room": ({"room_bytes": peak_bytes(16)}, COMMAND, "memory", 32, {32}),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_a_search_ends_with_what_time_and_memory_allow(name):
    given, search, stopped, largest_tried, failed = ENDS[name]
    machine, told = MadeUpMachine(**given), Told()

    profile = searched(machine, **search, told=told)

    assert profile.stopped == stopped
    sizes = set(search.get("sizes", USUAL))
    smallest = 32 if search is FEW_SIZES else 1
    assert sizes & profile.batch_sizes == sizes & {*range(smallest, largest_tried + 1)}
    assert {size for size, point in whole(profile).items() if not point.ran} == failed
    assert max(machine.probed, default=(0, 0))[0] <= max(largest_tried, 8)
    assert machine.cut_off == 0
    if stopped == "time":
        assert "give a larger --budget" in told.warnings[0]


# Further processes


@pytest.mark.parametrize(("sd", "fewest", "most"), [(0.005, 2, 2), (0.07, 4, 12), (0.5, 12, 12)])
def test_processes_that_lie_far_apart_are_followed_by_more_of_them(sd, fewest, most):
    profile = searched(wavering(sd=sd))

    assert {fewest <= len(point.timings) <= most for point in profile.points} == {True}


@pytest.mark.parametrize("room_bytes", [None, peak_bytes(700)])
def test_what_is_done_grows_to_nearly_all(room_bytes):
    told = Told()

    searched(wavering(sd=0.5, room_bytes=room_bytes), told=told)

    assert 0.9 < told.fractions[-1] < 1.0


def test_each_round_goes_the_other_way_round_so_that_a_load_that_comes_and_goes_is_seen():
    """Something takes half of the machine for as long as a round takes, every other time."""
    n_before = itertools.count()
    machine = Changed(
        lambda point: slower(point, 1 + (next(n_before) % 11 >= 6)), seconds=lambda size: 1e-3
    )

    profile = searched(machine, [2**power for power in range(2, 13)], first=64)

    orders = [machine.probed[at : at + 11] for at in range(11, len(machine.probed), 11)]
    assert orders[1] == [orders[0][0], *orders[0][:0:-1]]
    step_s = [point.step_s.estimate for point in profile.points]
    assert max(step_s) / min(step_s) < 2


def test_where_the_time_ends_the_larger_ones_are_not_timed_again():
    once = MadeUpMachine(seconds=lambda size: 5e-4 * size)
    searched(once)
    machine = MadeUpMachine(seconds=lambda size: 5e-4 * size, budget_s=0.7 * once.clock_s)

    profile = searched(machine)

    again = [bool(point.again) for point in profile.points]
    assert again == sorted(again, reverse=True)
    assert set(again) == {True, False}
    assert profile.stopped is None


def test_a_second_process_that_fails_leaves_what_the_first_one_saw():
    tried: list[int] = []
    told = Told()

    def goes_wrong(size: int) -> Status | None:
        tried.append(size)
        return Status.KILLED if size == 64 and tried.count(64) == 2 else None

    points = whole(searched(MadeUpMachine(goes_wrong=goes_wrong), told=told))

    assert tried.count(64) == 2
    assert "batch size 64, which ran before: killed" in told.warnings[0]
    assert (points[64].ran, points[64].again) == (True, ())
    assert points[128].again


# Commands


timed = partial(searched, **COMMAND)


def test_what_one_trains_with_comes_first_then_its_neighbors_and_all_again():
    machine = MadeUpMachine()

    profile = timed(machine)

    order = [size for size, _ in machine.probed]
    assert order == [32, 64, 16, 8, 128, 32, 8, 16, 64, 128]
    assert profile.stopped is None
    assert all(len(point.timings) == 2 for point in profile.points)


def test_beyond_memory_a_command_that_accumulates_does():
    points = timed(MadeUpMachine(room_bytes=peak_bytes(32)), may_accumulate=True).points

    in_pieces = {(*point.shape, point.status) for point in points if not point.in_one_piece}
    assert in_pieces == {(64, 32, Status.OK), (128, 32, Status.OK)}


def test_a_memory_limit_is_of_the_gpu_where_a_script_used_one():
    machine = Changed(
        lambda seen: replace(seen, peak_bytes=10**9, gpu_peak_bytes=1000 * seen.micro_batch_size)
    )

    points = whole(timed(machine, memory_limit_bytes=40_000))

    assert points[32].ran
    assert points[32].gpu_peak_bytes == 32_000
    assert points[64].status is Status.OOM
    assert dict(points[64].reason.values)["peak_bytes"] == 64_000


def test_what_ran_too_shortly_to_be_timed_is_no_bad_end():
    told, reason = Told(), Reason.of("over_too_soon", seconds=0.2)
    machine = Changed(
        lambda seen: replace(seen, timing=None, reason=reason, at_most_step_s=0.1 / seen.batch_size)
    )

    profile = timed(machine, told=told)

    assert profile.stopped is None
    assert [point.batch_size for point in profile.points if point.is_untimed] == list(SIZES)
    assert told.warnings[0].startswith("batch size 32: not timed (it ended by itself")
