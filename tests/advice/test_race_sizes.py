"""The batch sizes of a race: upward where larger ones may win, else downward, else none."""

from __future__ import annotations

import pytest

from batchlab.advice.race import RaceSizes

SIZES = (8, 16, 32, 64, 128, 256, 512, 1024, 2048)


def sizes_on(knee, own=64, sizes=SIZES):
    """Of a device whose step takes as long up to a batch size, and grows with it after."""
    return RaceSizes.of(own, {size: max(1.0, size / knee) for size in sizes})


def test_it_begins_at_eight_times_the_reference_and_goes_away_from_it_and_back():
    sizes = sizes_on(1024)

    assert (sizes.first, sizes.is_upward) == (512, True)
    assert sizes.further(512, 4, without={512}) == 2048
    assert sizes.further(512, 2, without={512}) == 1024
    assert sizes.further(2048, 2, without=set()) is None
    assert sizes.nearer(512, without={512}, is_far=False) == 256
    assert sizes.nearer(512, without={512}, is_far=True) == 128
    assert sizes.nearer(256, without={256}, is_far=True) == 128  # a quarter would be the reference
    assert sizes.nearer(256, without={128, 256}, is_far=False) is None


@pytest.mark.parametrize("own", [64, 1024, 2048])
def test_where_a_step_takes_as_long_as_its_examples_it_goes_down(own):
    sizes = sizes_on(8, own=own)

    assert (sizes.first, sizes.is_upward) == (own // 8, False)
    assert sizes.nearer(own // 8, without={own // 8}, is_far=False) == own // 4
    assert sizes.nearer(own // 8, without={own // 8}, is_far=True) == own // 2
    assert all(size <= own for size in sizes.sizes)


def test_it_goes_down_no_further_than_the_device_is_as_fast():
    sizes = sizes_on(256, own=1024)

    assert (sizes.first, sizes.is_upward) == (256, False)
    assert sizes.further(256, 2, without={256}) is None


@pytest.mark.parametrize("own", [64, 2048])
def test_where_neither_side_may_win_it_stays(own):
    sizes = sizes_on(own, own=own)

    assert sizes.first == own
    assert sizes.further(own, 2, without={own}) is None
    assert sizes.nearer(own, without={own}, is_far=True) is None


def test_a_batch_size_that_is_no_neighbour_of_the_reference_goes_by_what_there_is():
    assert sizes_on(1024, own=100, sizes=(30, 100, 300, 700)).first == 700
    assert sizes_on(10, own=100, sizes=(30, 100, 300, 700)).first == 30
