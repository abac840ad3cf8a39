"""The least-squares line and its intervals, beside the textbook's."""

import numpy as np
import pytest
from scipy.stats import linregress

from batchlab.laws.lines import StraightLine


@pytest.mark.parametrize("n", [3, 4, 20])
def test_line_and_intervals_are_those_of_scipy(n: int) -> None:
    rng = np.random.default_rng(n)
    x = rng.uniform(5, 9, n)
    y = 2 - 3 * x + rng.normal(size=n)

    line = StraightLine.through(x.tolist(), y.tolist())

    told = linregress(x, y)
    t = {3: 12.706204736, 4: 4.3026527299, 20: 2.1009220402}[n]
    assert (line.slope, line.level) == pytest.approx((told.slope, told.intercept))
    assert line.at(7) == pytest.approx(told.intercept + 7 * told.slope)
    half = t * told.stderr
    assert line.slope_interval() == pytest.approx((told.slope - half, told.slope + half))
    half = t * told.intercept_stderr
    assert line.interval_at(0) == pytest.approx((told.intercept - half, told.intercept + half))


def test_two_points_have_a_line_and_no_bounds() -> None:
    line = StraightLine.through([1, 3], [10, 20])

    assert (line.slope, line.level, line.n) == (5, 5, 2)
    assert line.slope_interval() == line.interval_at(2) == (None, None)
