import pytest

from batchlab.app.budget import RECORDING_S, Budget
from batchlab.errors import BudgetError


def test_without_a_ceiling_nothing_is_limited_and_one_set_later_counts_from_the_beginning():
    budget = Budget(None, reserved_s=10.0)

    budget.refuse_if_out_of_time("waiting")
    assert budget.time_limit_s(7.0) == 7.0
    assert budget.work_s is None
    budget.seconds = 60.0
    assert budget.work_s == 50.0 - RECORDING_S


def test_work_ends_before_what_the_caller_and_the_reading_back_need():
    budget = Budget(60.0, reserved_s=10.0)

    assert 49.0 < budget.time_limit_s() <= 50.0 - RECORDING_S
    assert budget.time_limit_s(1.0) == 1.0
    over = Budget(0.1)  # less than what is kept for reading back
    assert over.time_limit_s() == 0.0
    with pytest.raises(BudgetError, match=r"0\.1 s: it ended while checking, .* larger --budget"):
        over.refuse_if_out_of_time("checking")
