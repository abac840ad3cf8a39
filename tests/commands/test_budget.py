from __future__ import annotations

import math
import time

import pytest

from batchlab.commands.budget import RECORDING_S, Budget
from batchlab.errors import BudgetError, UsageError


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf])
def test_a_budget_that_is_no_time_is_refused(seconds: float) -> None:
    with pytest.raises(UsageError, match="expected more than 0, such as 90s"):
        Budget(seconds)


def test_without_a_ceiling_nothing_is_limited() -> None:
    budget = Budget(None)

    budget.refuse_if_out_of_time("waiting")

    assert budget.time_limit_s(7.0) == 7.0
    assert budget.deadline_s is None
    assert budget.work_ends_s is None


def test_work_ends_before_what_the_caller_and_the_reading_back_need() -> None:
    before_s = time.monotonic()

    budget = Budget(60.0, reserved_s=10.0)

    assert budget.deadline_s is not None
    assert budget.work_ends_s is not None
    assert before_s + 50.0 <= budget.deadline_s <= time.monotonic() + 50.0
    assert budget.deadline_s - budget.work_ends_s == pytest.approx(RECORDING_S)
    assert budget.time_limit_s() <= 50.0 - RECORDING_S
    assert budget.time_limit_s(1.0) == 1.0


def test_a_ceiling_that_is_set_later_counts_from_the_beginning() -> None:
    budget = Budget(None, reserved_s=10.0)

    budget.limit(60.0)

    assert budget.seconds == 60.0
    assert budget.deadline_s == pytest.approx(budget.started_s + 50.0)
    with pytest.raises(UsageError, match="expected more than 0"):
        budget.limit(0.0)


def test_a_budget_that_ended_says_what_was_being_done() -> None:
    budget = Budget(0.1)  # less than what is kept for reading back

    assert budget.time_limit_s() == 0.0
    with pytest.raises(BudgetError, match=r"0\.1 s: it ended while checking, .* larger --budget"):
        budget.refuse_if_out_of_time("checking")
