"""The F test of a law against the scatter of the seeds."""

import pytest

from batchlab.laws.steps import lack_of_fit
from batchlab.words.reasons import reason_text


def test_the_p_value_is_the_tables():
    # F(0.95; 3, 10) = 3.7083 (any table of the F distribution).
    test = lack_of_fit(between=3 * 3.7083, between_degrees=3, within=10, within_degrees=10)

    assert test.p_value == pytest.approx(0.05, abs=1e-5)


@pytest.mark.parametrize(("statistic", "rejected"), [(3.6, False), (3.8, True)])
def test_it_rejects_below_5_in_100(statistic, rejected):
    test = lack_of_fit(between=3 * statistic, between_degrees=3, within=10, within_degrees=10)

    assert test.rejected is rejected


def test_two_batch_sizes_or_one_run_each_leave_nothing_to_test():
    two = lack_of_fit(between=0, between_degrees=0, within=1, within_degrees=4)
    single = lack_of_fit(between=1, between_degrees=3, within=0, within_degrees=0)

    assert (two.rejected, single.rejected) == (None, None)
    assert "at least three" in reason_text(two.reason)
    assert "two or more seeds" in reason_text(single.reason)
