"""Settings: what is refused, and in which words."""

from __future__ import annotations

import math
from typing import Any

import pytest

from batchlab.errors import WorkloadError
from batchlab.workload.settings import check_real, check_switch, check_whole, chosen


def test_a_choice_stands_for_its_thing() -> None:
    assert chosen("b", {"a": 1, "b": 2}, setting="s", workload="w") == 2


@pytest.mark.parametrize("value", ["c", "", "A", None, ["a"]])
def test_no_choice_is_answered_with_the_choices(value: Any) -> None:
    with pytest.raises(WorkloadError, match=r"^w: s=.* is not a choice; give one of a, b$"):
        chosen(value, {"a": 1, "b": 2}, setting="s", workload="w")


@pytest.mark.parametrize("value", [1, 7])
def test_whole_numbers_from_low_to_high_pass(value: int) -> None:
    check_whole(value, setting="s", workload="w", low=1, high=7)


@pytest.mark.parametrize("value", [0, 8, 2.0, True, "3", None])
def test_anything_else_is_no_such_whole_number(value: Any) -> None:
    with pytest.raises(WorkloadError, match=r"^w: s=.*; expected a whole number from 1 to 7"):
        check_whole(value, setting="s", workload="w", low=1, high=7)


def test_a_whole_number_without_an_upper_end_may_be_large() -> None:
    check_whole(10**9, setting="s", workload="w", low=1)


@pytest.mark.parametrize("value", [0, 0.5, 0.999])
def test_numbers_in_a_half_open_range_pass(value: float) -> None:
    check_real(value, setting="s", workload="w", low=0, below=1)


@pytest.mark.parametrize("value", [-1e-9, 1, math.nan, math.inf, False, "0.5", None])
def test_anything_else_is_no_such_number(value: Any) -> None:
    with pytest.raises(WorkloadError, match=r"^w: s=.*; expected a finite number of at least 0"):
        check_real(value, setting="s", workload="w", low=0, below=1)


def test_infinity_is_no_finite_number() -> None:
    with pytest.raises(WorkloadError, match="s=inf"):
        check_real(math.inf, setting="s", workload="w", low=0)


@pytest.mark.parametrize("value", [0, 1, "true", None])
def test_a_switch_is_true_or_false_and_nothing_like_it(value: Any) -> None:
    with pytest.raises(WorkloadError, match="expected true or false"):
        check_switch(value, setting="s", workload="w")
