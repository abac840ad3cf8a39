"""The search for what fits, on a made-up machine: no processes, no PyTorch, a clock of its own."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.reference.made_up_profile import (
    FIXED_BYTES,
    MadeUpMachine,
    peak_bytes,
    untried_profile,
)
from tests.reference.told import Told

from batchlab.measure.profile import Profile, ProfilePoint
from batchlab.measure.profile_search import CommandSearch, ProfileSearch, default_batch_sizes
from batchlab.records.estimate import Reason
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.trial import Status

N_TRAIN = 10_000


def searched(
    machine: MadeUpMachine,
    sizes: tuple[int, ...] | None = None,
    *,
    first: int | None = None,
    **given: Any,
) -> Profile:
    usual: dict[str, Any] = {"left_s": machine.left_s, "listener": ProgressListener()}
    search = ProfileSearch(machine, untried_profile(N_TRAIN, batch_size=first), **(usual | given))
    return search.run(sizes or default_batch_sizes(N_TRAIN, reference_batch_size=64))


def whole(profile: Profile) -> dict[int, ProfilePoint]:
    return {point.batch_size: point for point in profile.points if point.in_one_piece}


def largest(profile: Profile) -> int:
    return max(size for size, point in whole(profile).items() if point.ran)


def test_the_sizes_double_up_to_the_training_set_which_is_the_last() -> None:
    sizes = default_batch_sizes(1000, reference_batch_size=50)

    assert sizes == (1, 2, 4, 8, 16, 32, 50, 64, 128, 256, 512, 1000)
    assert default_batch_sizes(37, reference_batch_size=64) == (1, 2, 4, 8, 16, 32, 37)


def test_a_budget_for_few_sizes_ends_with_the_workloads_own_known() -> None:
    machine = MadeUpMachine(budget_s=1.5)

    profile = searched(machine, (8, 16, 32, 64, 128, 256), first=32)

    assert profile.stopped == "time"
    assert {32, 64} <= set(whole(profile))
    assert not {8, 16} & set(whole(profile))


@pytest.mark.parametrize("fits", [3, 20, 100, 700])
def test_where_the_first_does_not_fit_smaller_ones_are_found_and_it_is_accumulated(
    fits: int,
) -> None:
    machine = MadeUpMachine(room_bytes=peak_bytes(fits))

    profile = searched(machine, first=64)

    assert fits / 1.25 - 1 <= largest(profile) <= fits
    assert profile.stopped == "memory"
    ran = {point.batch_size for point in profile.points if point.ran}
    assert set(default_batch_sizes(N_TRAIN, reference_batch_size=64)) <= ran


@pytest.mark.parametrize("fits", [3, 17, 100, 129, 700, 1023, 1025, 5000, 9999])
@pytest.mark.parametrize("known", [True, False])
def test_the_largest_that_fits_is_found_within_a_quarter_and_was_run(
    fits: int, known: bool
) -> None:
    machine = MadeUpMachine(room_bytes=peak_bytes(fits))

    profile = searched(machine, ceiling_bytes=peak_bytes(fits) if known else None)

    assert fits / 1.25 - 1 <= largest(profile) <= fits
    assert (largest(profile), largest(profile)) in machine.probed
    assert profile.stopped == "memory"


def test_the_law_of_memory_spares_probes_that_would_fail() -> None:
    fits = 1500

    knowing = MadeUpMachine(room_bytes=peak_bytes(fits))
    searched(knowing, ceiling_bytes=peak_bytes(fits))
    blind = MadeUpMachine(room_bytes=peak_bytes(fits))
    searched(blind)

    def failed(machine: MadeUpMachine) -> int:
        return sum(micro > fits for _, micro in machine.probed)

    assert failed(knowing) == 0
    assert failed(blind) > 0
    assert len(knowing.probed) < len(blind.probed)


def test_where_nothing_fits_the_search_ends_at_batch_size_1() -> None:
    machine = MadeUpMachine(room_bytes=FIXED_BYTES // 2)

    profile = searched(machine)

    assert [point.status for point in profile.points] == [Status.OOM]
    assert machine.probed == [(1, 1)]


def test_what_does_not_fit_is_accumulated_from_micro_batches_that_do() -> None:
    machine = MadeUpMachine(room_bytes=peak_bytes(1000))

    profile = searched(machine)

    accumulated = [point for point in profile.points if point.accumulation_steps > 1]
    assert {point.batch_size for point in accumulated} == {1024, 2048, 4096, 8192, N_TRAIN}
    for point in accumulated:
        assert point.ran
        last = point.batch_size - (point.accumulation_steps - 1) * point.micro_batch_size
        assert 0.9 * point.micro_batch_size < last <= point.micro_batch_size <= 1000


def test_the_fastest_micro_batch_is_taken_and_not_the_largest() -> None:
    # Beyond 300 examples a pass takes ten times as long: caches, say.
    def seconds(size: int) -> float:
        return size * (1e-5 if size <= 300 else 1e-4)

    machine = MadeUpMachine(room_bytes=peak_bytes(1000), seconds=seconds)

    profile = searched(machine, (256, 512, 1024, 2048, 4096))

    last = [point for point in profile.points if point.batch_size == 4096]
    assert [point.micro_batch_size <= 300 for point in last] == [True]


@pytest.mark.parametrize("status", [Status.ERROR, Status.KILLED, Status.TIMEOUT])
def test_two_bad_ends_in_a_row_end_the_growth(status: Status) -> None:
    machine = MadeUpMachine(goes_wrong=lambda size: status if size >= 64 else None)

    profile = searched(machine)

    assert max(machine.probed) == (128, 128)
    assert machine.probed.count((128, 128)) == 1
    assert profile.stopped == "errors"


@pytest.mark.parametrize(("budget_s", "is_known"), [(60.0, True), (8.0, False)])
def test_a_hang_costs_its_own_time_limit_only_and_is_not_held_against_what_the_budget_cut(
    budget_s: float, is_known: bool
) -> None:
    machine = MadeUpMachine(
        goes_wrong=lambda size: Status.TIMEOUT if size == 8 else None, budget_s=budget_s
    )

    profile = searched(machine)

    assert machine.clock_s <= budget_s
    assert (8 in whole(profile)) == is_known
    assert profile.stopped == (None if is_known else "time")
    assert (largest(profile) == N_TRAIN) == is_known


@pytest.mark.parametrize("budget_s", [2.0, 5.0, 15.0, 60.0])
def test_the_budget_is_never_exceeded(budget_s: float) -> None:
    machine = MadeUpMachine(budget_s=budget_s, seconds=lambda size: 1e-3 * size)

    profile = searched(machine)

    assert machine.clock_s <= budget_s
    assert profile.stopped == "time"
    assert all(point.ran for point in profile.points)
    assert machine.cut_off == 0


def test_time_that_ends_while_accumulating_does_not_undo_the_limit_that_was_found() -> None:
    def seconds(size: int) -> float:
        return 1e-3 * size

    machine = MadeUpMachine(room_bytes=peak_bytes(1000), seconds=seconds, budget_s=50.0)

    profile = searched(machine, ceiling_bytes=peak_bytes(1000))

    assert machine.left_s() < 20  # one step of all examples takes 10 s
    assert profile.stopped == "memory"
    assert N_TRAIN not in {point.batch_size for point in profile.points}


def _times(seen: ProfilePoint, factor: float) -> ProfilePoint:
    """The same of a process that took so many times as long."""
    if seen.timing is None:
        return seen
    blocks = tuple(factor * block for block in seen.timing.block_s)
    return replace(seen, timing=replace(seen.timing, block_s=blocks))


class Wavering(MadeUpMachine):
    """Every process takes another time, by so many per cent."""

    def __init__(self, *, sd: float, **changes: Any) -> None:
        super().__init__(**changes)
        self._sd = sd
        self._stream = random.Random(0)

    def __call__(self, *sizes: int, **limits: float) -> ProfilePoint:
        seen = super().__call__(*sizes, **limits)
        return _times(seen, math.exp(self._stream.gauss(0, self._sd)))


@pytest.mark.parametrize(("sd", "fewest", "most"), [(0.005, 2, 2), (0.07, 4, 12), (0.5, 12, 12)])
def test_processes_that_lie_far_apart_are_followed_by_more_of_them(
    sd: float, fewest: int, most: int
) -> None:
    profile = searched(Wavering(sd=sd))

    assert {fewest <= len(point.timings) <= most for point in profile.points} == {True}


def test_each_round_goes_the_other_way_round_so_that_a_load_that_comes_and_goes_is_seen() -> None:
    """Something takes half of the machine for as long as a round takes, every other time."""

    class Busy(MadeUpMachine):
        def __call__(self, size: int, micro: int, **limits: float) -> ProfilePoint:
            times = 2 if len(self.probed) % 11 >= 6 else 1
            return _times(super().__call__(size, micro, **limits), times)

    sizes = (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
    machine = Busy(seconds=lambda size: 1e-3)

    profile = searched(machine, sizes, first=64)

    orders = [machine.probed[at : at + 11] for at in range(11, len(machine.probed), 11)]
    assert orders[1] == [orders[0][0], *orders[0][:0:-1]]
    ratios = [point.step_s.estimate for point in profile.points]
    assert max(ratios) / min(ratios) < 2


@pytest.mark.parametrize("room_bytes", [None, peak_bytes(700)])
def test_what_is_done_only_goes_up(room_bytes: int | None) -> None:
    told: list[float] = []

    class Heard(ProgressListener):
        def progress(self, *, done_fraction: float, **said: Any) -> None:
            told.append(done_fraction)

    machine = Wavering(sd=0.5, room_bytes=room_bytes)
    searched(machine, ceiling_bytes=room_bytes, listener=Heard())

    assert told == sorted(told)
    assert 0.9 < told[-1] < 1.0


def test_where_the_time_ends_the_larger_ones_are_not_timed_again() -> None:
    def seconds(size: int) -> float:
        return 5e-4 * size

    once = MadeUpMachine(seconds=seconds, budget_s=1000.0)
    searched(once)
    machine = MadeUpMachine(seconds=seconds, budget_s=0.7 * once.clock_s)

    profile = searched(machine)

    again = [bool(point.again) for point in profile.points]
    assert again == sorted(again, reverse=True)
    assert again[0]
    assert not again[-1]
    assert profile.stopped is None
    assert machine.left_s() >= 0


def test_a_second_process_that_fails_leaves_what_the_first_one_saw() -> None:
    seen: list[int] = []
    told = Told()

    def goes_wrong(size: int) -> Status | None:
        seen.append(size)
        return Status.KILLED if size == 64 and seen.count(64) == 2 else None

    profile = searched(MadeUpMachine(goes_wrong=goes_wrong), listener=told)

    assert seen.count(64) == 2
    assert "batch size 64, which ran before: killed" in told.warnings[0]
    assert whole(profile)[64].ran
    assert not whole(profile)[64].again
    assert whole(profile)[128].again


def test_a_step_that_takes_whole_batches_is_never_given_pieces() -> None:
    told = Told()

    machine = MadeUpMachine(room_bytes=peak_bytes(1000))
    profile = searched(machine, listener=told, may_accumulate=False)

    assert {point.accumulation_steps for point in profile.points} == {1}
    assert profile.stopped == "memory"
    assert f"above {largest(profile)} do not fit whole" in told.warnings[-1]


SIZES = (8, 16, 32, 64, 128)


def timed(
    machine: MadeUpMachine,
    *,
    memory_limit_bytes: int | None = None,
    n_train: int = N_TRAIN,
    sizes: Sequence[int] = SIZES,
    **given: Any,
) -> Profile:
    usual: dict[str, Any] = {"left_s": machine.left_s, "listener": Told(), "may_accumulate": False}
    own = sizes[2]
    untried = untried_profile(n_train, batch_size=own, memory_limit_bytes=memory_limit_bytes)
    return CommandSearch(machine, untried, **(usual | given)).run(sizes)


def fails_unless(runs: Callable[[int], bool]) -> MadeUpMachine:
    return MadeUpMachine(goes_wrong=lambda size: None if runs(size) else Status.ERROR)


@pytest.mark.parametrize(
    ("sizes", "n_train", "runs", "added"),
    [
        ((10, 20, 40, 80, 160, 320), 1000, lambda size: 1000 % size == 0, [200, 1000]),
        ((3, 6, 12, 24, 48, 96), 1001, lambda size: size in (12, 36, 48, 60), [36, 60]),
        ((8, 16, 32, 64, 128), 1000, lambda size: size != 128, []),
        ((8, 16, 32, 64, 128), 1000, lambda size: size == 8, []),
    ],
    ids=["a divisor of N", "a multiple", "most run", "its own does not run"],
)
def test_where_most_sizes_fail_multiples_of_its_own_are_tried(
    sizes: tuple[int, ...], n_train: int, runs: Callable[[int], bool], added: list[int]
) -> None:
    profile = timed(fails_unless(runs), n_train=n_train, sizes=sizes)
    as_given = timed(fails_unless(runs), n_train=n_train, sizes=sizes, are_given=True)

    ran = [point.batch_size for point in profile.points if point.ran]
    assert sorted(set(ran) - set(sizes)) == added
    assert {point.batch_size for point in as_given.points} <= set(sizes)


def test_what_one_trains_with_comes_first_then_its_neighbors_and_all_again() -> None:
    machine = MadeUpMachine()

    profile = timed(machine)

    order = [size for size, _ in machine.probed]
    assert order == [32, 64, 16, 8, 128, 32, 8, 16, 64, 128]
    assert profile.stopped is None
    assert all(len(point.timings) == 2 for point in profile.points)


def test_beyond_memory_a_command_that_accumulates_does() -> None:
    profile = timed(MadeUpMachine(room_bytes=peak_bytes(32)), may_accumulate=True)

    found = {point.batch_size: point for point in profile.points}
    assert (found[64].micro_batch_size, found[64].status) == (32, Status.OK)
    assert (found[128].micro_batch_size, found[128].status) == (32, Status.OK)


def test_a_memory_limit_is_of_the_gpu_where_a_script_used_one() -> None:
    class OnGpu(MadeUpMachine):
        def __call__(self, size: int, micro: int, **limits: float) -> ProfilePoint:
            seen = super().__call__(size, micro, **limits)
            return replace(seen, peak_bytes=10**9, gpu_peak_bytes=1000 * micro)

    profile = timed(OnGpu(), memory_limit_bytes=40_000)

    found = {point.batch_size: point for point in profile.points}
    assert found[32].ran
    assert found[32].gpu_peak_bytes == 32_000
    assert found[64].status is Status.OOM
    assert dict(found[64].reason.values)["peak_bytes"] == 64_000


def test_what_ran_too_shortly_to_be_timed_is_no_bad_end() -> None:
    class TooSoon(MadeUpMachine):
        def __call__(self, size: int, micro: int, **limits: float) -> ProfilePoint:
            seen = super().__call__(size, micro, **limits)
            why = Reason.of("over_too_soon", seconds=0.2)
            return replace(seen, timing=None, reason=why, at_most_step_s=0.1 / size)

    told = Told()
    profile = timed(TooSoon(), listener=told)

    assert profile.stopped is None
    assert [point.batch_size for point in profile.points if point.is_untimed] == list(SIZES)
    assert told.warnings[0].startswith("batch size 32: not timed (it ended by itself")


def test_without_time_the_rest_is_not_tried() -> None:
    machine, told = MadeUpMachine(budget_s=0.0), Told()

    profile = timed(machine, listener=told)

    assert machine.probed == []
    assert profile.stopped == "time"
    assert any("give a larger --budget" in warning for warning in told.warnings)


def test_of_a_command_nothing_larger_is_started_than_what_does_not_fit() -> None:
    machine = MadeUpMachine(room_bytes=peak_bytes(16))

    profile = timed(machine)

    assert {size for size, _ in machine.probed} == {8, 16, 32}
    assert profile.stopped == "memory"
