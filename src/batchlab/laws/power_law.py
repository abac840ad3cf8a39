"""PowerLawFit: y = coefficient × x^exponent through points, by least squares on logarithms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from batchlab.errors import FitError
from batchlab.laws.straight_line import StraightLine
from batchlab.records.estimate import Estimate
from batchlab.records.reason import Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class PowerLawFit:
    """A power law with Student's 95 % intervals from its residuals.

    Attributes:
        exponent: what log y gains per log x.
        coefficient: y at x = 1, in y's unit.
    """

    exponent: Estimate
    coefficient: Estimate


def fit_power_law(x: Sequence[float], y: Sequence[float]) -> PowerLawFit:
    """Fit y = coefficient × x^exponent by least squares on log y.

    Args:
        x: shape (n,), > 0.
        y: shape (n,), > 0, any unit.

    Returns:
        From two distinct x a law without an interval, from fewer the reason why there is none.

    Raises:
        FitError: a number that is not finite and above 0, or not as many x as y.
    """
    if len(x) != len(y):
        raise FitError(f"a power law through {len(x)} x and {len(y)} y: give as many of each")
    for name, values in (("x", x), ("y", y)):
        for value in values:
            _check(value, name)
    log_x, log_y = [math.log(value) for value in x], [math.log(value) for value in y]
    n = len(log_x)
    if len(set(log_x)) < 2:
        nothing = Estimate.cannot_tell(Reason.of("power_law_needs_two", n=n), n=n)
        return PowerLawFit(exponent=nothing, coefficient=nothing)
    line = StraightLine.through(log_x, log_y)
    low, high = (None if log is None else math.exp(log) for log in line.interval_at(0.0))
    return PowerLawFit(
        exponent=Estimate.of(line.slope, interval=line.slope_interval(), n=n),
        coefficient=Estimate.of(math.exp(line.at(0.0)), interval=(low, high), n=n),
    )


def _check(value: float, name: str) -> None:
    if not (math.isfinite(value) and value > 0):
        raise FitError(f"a power law with {name}={value}: expected finite numbers above 0")
