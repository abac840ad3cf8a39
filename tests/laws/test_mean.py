"""The mean of independent observations with Student's interval."""

import math

import pytest

from batchlab.errors import UsageError
from batchlab.laws.mean import mean_interval


def test_mean_interval_agrees_with_the_textbook_t_interval():
    estimate = mean_interval([1.0, 2.0, 4.0])

    # mean 7/3, standard deviation sqrt(7/3), t(2, 0.975) = 4.302653
    half = 4.302652729911275 * math.sqrt(7 / 3) / math.sqrt(3)
    assert estimate.estimate == pytest.approx(7 / 3)
    assert (estimate.low, estimate.high) == pytest.approx((7 / 3 - half, 7 / 3 + half))
    assert estimate.n == 3


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_never_averaged(bad):
    with pytest.raises(UsageError, match="diverged"):
        mean_interval([1.0, bad])
