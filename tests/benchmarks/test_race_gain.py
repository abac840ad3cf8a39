"""How far the gain of a race is off: the rows of the advice are those of the record."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from tests.reference.script import script
from tests.reference.whole_grid import write_whole_grid

from batchlab.advice.race_gain import race_gain


@pytest.fixture(scope="module")
def spread() -> Iterator[ModuleType]:
    with script("race_gain.py") as module:
        yield module


@pytest.mark.parametrize("end_was_seen", [True, False])
def test_the_advice_has_the_interval_that_the_record_gives(
    spread: ModuleType, end_was_seen: bool
) -> None:
    ratios = [tuple(each) for each in json.loads(spread.RESULTS.read_text())["ratios"]]

    found = race_gain(2.0, end_was_seen=end_was_seen)

    low, high = spread.interval(ratios, end_was_seen=end_was_seen)
    assert found.low == (pytest.approx(2 * low) if low else None)
    assert found.high == pytest.approx(2 * high)
    assert 0.9 <= spread.held_when_left_out(ratios, end_was_seen=end_was_seen) <= 0.98


def test_the_interval_for_a_workload_is_of_all_others_but_its_twin(spread: ModuleType) -> None:
    quiet = [(f"quiet-{n % 3}", True, 1 + n / 1000) for n in range(90)]
    wild = [("wild", True, 5.0)] * 5 + [("wild-cosine", True, 5.0)] * 5

    # The quiet ones hold each other, but for the ends; neither wild one is held by the other.
    assert spread.held_when_left_out(wild + quiet, end_was_seen=True) <= 0.9
    assert spread.interval(quiet, end_was_seen=True) == (1.0, 1.09)


def test_what_misses_the_level_on_the_judging_seeds_has_no_gain(
    spread: ModuleType, tmp_path: Path
) -> None:
    found = spread.ratios_of(write_whole_grid(tmp_path), "flat to 256", 1)

    assert all(math.isfinite(ratio) and ratio >= 0 for _, _, ratio in found)
