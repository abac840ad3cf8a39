"""Early signs: each names what it should on curves that are known by heart."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from benchmarks.regret.whole_situation import WholeSituation, whole_situation
from tests.reference.script import script
from tests.reference.whole_grid import write_whole_grid

from batchlab.engines.recorded_grid import RecordedGrid


@pytest.fixture(scope="module")
def signs() -> Iterator[ModuleType]:
    with script("early_signs.py") as module:
        yield module


@pytest.fixture
def drawn(tmp_path: Path) -> WholeSituation:
    return whole_situation(RecordedGrid.read(write_whole_grid(tmp_path)), "cpu", draw=0)


def _best_after(drawn: WholeSituation, cell: tuple[int, float], *, steps: int) -> float:
    """The best value of seed 0 within so many steps, half of them where they take 2 ms."""
    most = steps // 2 if cell[0] == 512 else steps
    curve = drawn.grid.runs[*cell, 0].curve
    return max(value for step, value in curve if step <= most and value is not None)


def test_a_curve_is_expected_at_a_level_where_its_law_says(signs: ModuleType) -> None:
    epochs = np.linspace(0.1, 4.0, 40)
    noise = np.random.default_rng(0).normal(0.0, 0.001, epochs.size)
    values = 0.95 - 0.8 * np.exp(-0.5 * epochs) + noise
    level = 0.95 - 0.8 * math.exp(-0.5 * 7.0)

    expected = signs.expected_epochs(epochs, values, level=level, most=20.0, resolution=0.002)

    assert expected == pytest.approx(7.0, rel=0.1)


def test_a_level_above_what_a_curve_comes_to_counts_as_two_whole_trainings(
    signs: ModuleType,
) -> None:
    epochs = np.linspace(0.1, 12.0, 60)
    noise = np.random.default_rng(0).normal(0.0, 0.001, epochs.size)
    values = 0.9 - 0.8 * np.exp(-0.8 * epochs) + noise

    expected = signs.expected_epochs(epochs, values, level=0.99, most=20.0, resolution=0.002)

    assert expected == pytest.approx(40.0, rel=0.02)


@pytest.mark.slow
def test_what_a_sign_names_is_valued_on_the_seeds_that_it_did_not_see(
    signs: ModuleType, drawn: WholeSituation
) -> None:
    named = {"best so far": signs.best_so_far, "the rate": lambda start: start.cell[1]}

    found = {each.sign: each for each in signs.named_by(named, drawn, share=0.04, seed=0)}

    judging = [seed for seed in drawn.grid.seeds if seed != 0]
    no_worse = [cell for cell in drawn.grid.cells if drawn.shortfall(cell, judging) <= 1]
    best_s = min(drawn.time_s(cell, judging) for cell in no_worse)
    # 0.04 of 320 steps of 1 ms are 12 of these, and 6 of 512, whose steps take 2 ms.
    furthest = max(drawn.grid.cells, key=lambda cell: _best_after(drawn, cell, steps=12))
    for sign, cell in (("the rate", drawn.reference), ("best so far", furthest)):
        regret = drawn.time_s(cell, judging) / best_s - 1
        assert found[sign].regret == pytest.approx(regret)
        assert found[sign].ends_worse == (drawn.shortfall_of_own(cell, judging) > 1)


def test_no_sign_is_asked_once_a_configuration_has_met_the_level(
    signs: ModuleType, drawn: WholeSituation
) -> None:
    def never(start: object) -> float:
        raise AssertionError("asked")

    assert list(signs.named_by({"never": never}, drawn, share=0.9, seed=0)) == []


def test_what_had_too_few_seconds_for_a_curve_is_not_expected_anywhere(
    signs: ModuleType, drawn: WholeSituation
) -> None:
    start = signs.Start(situation=drawn, cell=drawn.reference, seed=0, steps=3)

    assert signs.expected_s(start) == math.inf
