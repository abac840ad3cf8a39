"""PowerLawFit: y = coefficient × x^exponent through points, by least squares on logarithms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from batchlab.errors import FitError
from batchlab.records.estimate import Estimate

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class PowerLawFit:
    """A power law with Student's 95 % intervals from its residuals.

    Attributes:
        exponent: what log y gains per log x.
        coefficient: y at x = 1, in y's unit.
        residuals: log y less the law's, one a point, in the order given.
        log_x: logarithms of the points' x.
    """

    exponent: Estimate
    coefficient: Estimate
    residuals: tuple[float, ...]
    log_x: tuple[float, ...]

    def at(self, x: float) -> Estimate:
        """The law at `x` > 0, with the interval of the curve (not of a further point).

        Raises:
            FitError: `x` is not a finite number above 0.
        """
        _check(x, "x")
        if self.exponent.estimate is None or self.coefficient.estimate is None:
            return Estimate.cannot_tell(self.exponent.reason or "", n=self.exponent.n)
        n = len(self.log_x)
        log_y = math.log(self.coefficient.estimate) + self.exponent.estimate * math.log(x)
        half = _half_width(np.array(self.residuals), np.array(self.log_x), math.log(x))
        bounds = (None, None) if half is None else (math.exp(log_y - half), math.exp(log_y + half))
        return Estimate.of(math.exp(log_y), interval=bounds, n=n)


def fit_power_law(x: Sequence[float], y: Sequence[float]) -> PowerLawFit:
    """Fit y = coefficient × x^exponent by least squares on log y.

    Args:
        x: shape (n,), > 0.
        y: shape (n,), > 0, any unit.

    Returns:
        From two distinct x a law without an interval, from fewer the reason why there is none.

    Raises:
        FitError: a number that is not finite and above 0, or as many x as there are not y.
    """
    if len(x) != len(y):
        raise FitError(f"a power law through {len(x)} x and {len(y)} y: give as many of each")
    for name, values in (("x", x), ("y", y)):
        for value in values:
            _check(value, name)
    log_x, log_y = np.log(np.asarray(x, dtype=float)), np.log(np.asarray(y, dtype=float))
    n = len(log_x)
    if len(np.unique(log_x)) < 2:
        reason = (
            f"{n} points at fewer than 2 distinct values; a power law needs 2, and 3 for bounds"
        )
        nothing = Estimate.cannot_tell(reason, n=n)
        return PowerLawFit(
            exponent=nothing, coefficient=nothing, residuals=(), log_x=tuple(log_x.tolist())
        )
    around = log_x - log_x.mean()
    exponent = float(around @ log_y / (around @ around))
    at_1 = float(log_y.mean() - exponent * log_x.mean())
    residuals = log_y - at_1 - exponent * log_x
    slope_half = _half_width(residuals, log_x, None)
    level_half = _half_width(residuals, log_x, 0.0)
    return PowerLawFit(
        exponent=Estimate.of(exponent, interval=_around(exponent, slope_half), n=n),
        coefficient=Estimate.of(
            math.exp(at_1),
            interval=(None, None)
            if level_half is None
            else (math.exp(at_1 - level_half), math.exp(at_1 + level_half)),
            n=n,
        ),
        residuals=tuple(residuals.tolist()),
        log_x=tuple(log_x.tolist()),
    )


def _half_width(residuals: Array, log_x: Array, at: float | None) -> float | None:
    """Half of the 95 % interval of the line at log x = `at`, of its slope where that is None."""
    from scipy.special import stdtrit

    degrees = len(residuals) - 2
    if degrees < 1:
        return None
    variance = float(residuals @ residuals) / degrees
    spread = float(np.sum((log_x - log_x.mean()) ** 2))
    share = 1 / spread if at is None else 1 / len(log_x) + (at - log_x.mean()) ** 2 / spread
    return float(stdtrit(degrees, 0.975)) * math.sqrt(variance * share)


def _around(value: float, half: float | None) -> tuple[float | None, float | None]:
    return (None, None) if half is None else (value - half, value + half)


def _check(value: float, name: str) -> None:
    if not (math.isfinite(value) and value > 0):
        raise FitError(f"a power law with {name}={value}: expected finite numbers above 0")
