"""Branched endpoints: the rule is the published one, and the page shows what the command prints."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from tests.reference.script import script

PAGE = Path(__file__).parents[2] / "docs" / "branched-training.md"


@pytest.fixture(scope="module")
def branched() -> Iterator[ModuleType]:
    with script("branched_endpoints.py") as module:
        yield module


def test_the_largest_within_a_tolerance_is_compared_with_every_smaller_one(
    branched: ModuleType,
) -> None:
    losses = {1.0: 3.0, 2.0: 2.9, 4.0: 2.95, 8.0: 2.905, 16.0: 3.5}

    found = [branched.largest_within(losses, tolerance) for tolerance in (0.0, 0.01, 0.1, 1.0)]

    assert found == [2.0, 8.0, 8.0, 16.0]


def test_there_are_143_ends_and_the_tolerance_decides_which_is_the_largest(
    branched: ModuleType,
) -> None:
    points = branched.endpoints()
    last = branched.by_checkpoint(points, "muon")[4000e6]

    found = [branched.largest_within_draws(last, each) for each in branched.TOLERANCES]

    assert len(points) == 143
    assert [each.estimate for each in found] == [2, 32, 128, 512]
    assert all(each.low <= each.estimate <= each.high for each in found)


def test_examples_needed_are_exact_where_the_loss_falls_in_proportion_to_the_examples(
    branched: ModuleType,
) -> None:
    """A base that gains 0.02 a window, and a branch that needs three times the examples."""

    def end(tokens: float, loss: float, multiple: float = 1.0) -> object:
        return branched.Endpoint(
            optimizer="muon", checkpoint_tokens=tokens, multiple=multiple, loss=loss, sem=0.001
        )

    window = branched.WINDOW_TOKENS
    base = [end(0.0, 2.98), end(5 * window, 2.88)]
    gains = branched.loss_per_window(base)
    branch = end(0.0, 2.98 + 2 * 0.02, multiple=4.0)  # two windows behind

    needed = branched.examples_needed(branch, base[0], window_gain=gains[0.0])

    assert gains == {0.0: pytest.approx(0.02), 5 * window: pytest.approx(0.02)}
    assert needed.estimate == pytest.approx(3.0)
    half = 1.96 * math.sqrt(2) * 0.001 / 0.02
    assert needed.high - needed.estimate == pytest.approx(half, rel=1e-3)


def test_a_base_that_gains_nothing_tells_no_number_of_examples(branched: ModuleType) -> None:
    base, *_ = branched.endpoints()

    assert branched.examples_needed(base, base, window_gain=-0.01) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "table", ["tolerance_table", "base_table", "better_than_base_table", "examples_table"]
)
def test_the_page_has_the_tables_that_the_command_prints(branched: ModuleType, table: str) -> None:
    printed = getattr(branched, table)(branched.endpoints()).splitlines()

    assert len(printed) > 8
    assert "\n".join(printed[2:]) in PAGE.read_text()
