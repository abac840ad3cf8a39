"""Learning curves: the exponential and power-law approaches to a level that explain a noisy curve.

All likely fits with their weights, not one best: an answer (where the curve flattens, what it still
gains) then has its uncertainty.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, stdtrit

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Range = tuple[float, float]

# Level, rise, rate and noise are four unknowns; a power law's offset is the fifth.
MIN_POINTS = 6
MAX_POINTS = 200  # longer curves are averaged in blocks, which is quicker and changes no answer
MAX_CURVES = 400  # in a result

_RATE = (math.log(0.004), math.log(5.0))  # log of rate per epoch: from beyond any run to within one
_POWER = (math.log(0.1), math.log(6.0))  # log of the exponent
_OFFSET = (-1.0, 5.0)  # log2 of 1 + the epochs that the power law has already behind it
_N_RATES, _N_POWERS, _N_OFFSETS = 100, 16, 20
_ZOOMS = 3  # then the grid is finer than the noise
# How many first points a law may leave unexplained: a few, or a part of the curve.
_STARTS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24)
_START_FRACTIONS = (1 / 3, 1 / 2, 2 / 3)
_LEVELS = (np.arange(15) + 0.5) / 15  # quantiles that stand for the uncertainty of a fitted rise
_LIKELY = 1e-4  # of the largest weight; what lies below is left out


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningCurves:
    """Weighted curves y = level - rise * left(t), up is better.

    Attributes:
        shapes: the laws, one per curve.
        rise: quantiles of each curve's rise, shape (m, 15), equally likely.
        weight: how much of the probability each curve carries, shape (m,); adds up to 1.
    """

    shapes: Shapes
    rise: Array
    weight: Array

    def left(self, t: Array) -> Array:
        """The part of each curve's rise still ahead at epochs `t`, shape (m, len(t))."""
        return self.shapes.left(t)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shapes:
    """Laws by which a rise is used up: exp(-rate t), or (t + offset)^-power.

    Attributes:
        exponential: which of them are exponential, shape (m,).
        rate: the rate per epoch, or the power; shape (m,).
        offset: in epochs, shape (m,); 0 for an exponential.
    """

    exponential: NDArray[np.bool_]
    rate: Array
    offset: Array

    def left(self, t: Array) -> Array:
        """What is left of the rise at epochs `t`, shape (m, len(t))."""
        rate = self.rate[:, None]
        # Half an epoch stands for the untrained model, where a power law has no value.
        base = np.maximum(t[None, :] + self.offset[:, None], 0.5)
        return np.exp(-rate * np.where(self.exponential[:, None], t[None, :], np.log(base)))

    def of(self, row: Index) -> Shapes:
        """The laws of the given rows."""
        return Shapes(
            exponential=self.exponential[row], rate=self.rate[row], offset=self.offset[row]
        )


def fit_learning_curves(t: Array, y: Array, *, resolution: float) -> LearningCurves:
    """All exponential and power-law approaches that a noisy curve leaves likely.

    Level and rise are integrated out under flat priors (the rise over the visible window, so that
    laws are comparable), the noise under a scaled inverse chi-square prior of one observation at
    a quarter of `resolution`: a curve without any noise must not claim certainty. Each family has
    half of the prior, spread evenly over the logarithms of its parameters. Points before a start
    count as drawn from anywhere in the range seen: the first epochs of a real run follow no law.

    Args:
        t: epochs, shape (n,), increasing, >= 0, n >= MIN_POINTS.
        y: values, shape (n,), finite, up is better.
        resolution: the smallest difference in y that matters, > 0.

    Returns:
        At most MAX_CURVES curves.

    Source: averaging over families of learning curves after Domhan, Springenberg and Hutter 2015
        (IJCAI, section 3); grids and priors are batchlab's.
    """
    t, y = _in_blocks(t, y)
    grid = _Grid(rate=_RATE, offset=_OFFSET, power=(_POWER,) * _N_OFFSETS)
    for _ in range(_ZOOMS):
        grid = grid.around(_Fit.of(grid, t, y, resolution=resolution).log_weight)
    fit = _Fit.of(grid, t, y, resolution=resolution)
    row, start, weight = _representatives(np.exp(fit.log_weight - fit.log_weight.max()))
    rise = fit.rise[row, start][:, None] + fit.error[row, start][:, None] * stdtrit(
        fit.degrees[start][:, None], _LEVELS[None, :]
    )
    return LearningCurves(
        shapes=grid.shapes().of(row),
        rise=rise / fit.span[row, start][:, None],
        weight=weight,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Grid:
    """An even grid over log rate, and over log2(1 + offset) with log powers for every offset.

    Each offset has its own range of powers, since the two trade places along a narrow ridge: a
    rectangle around the ridge would be too coarse across it.
    """

    rate: Range
    offset: Range
    power: tuple[Range, ...]  # one per offset

    def shapes(self) -> Shapes:
        """Its laws: the rates first, then for every offset its powers."""
        rate = np.linspace(*self.rate, _N_RATES)
        power = np.concatenate([np.linspace(*limits, _N_POWERS) for limits in self.power])
        offset = np.repeat(2.0 ** np.linspace(*self.offset, _N_OFFSETS) - 1, _N_POWERS)
        return Shapes(
            exponential=np.arange(_N_RATES + power.size) < _N_RATES,
            rate=np.exp(np.concatenate([rate, power])),
            offset=np.concatenate([np.zeros(_N_RATES), offset]),
        )

    def log_prior(self) -> Array:
        """Log of the prior that each law stands for: a smaller grid has a smaller share."""
        exponential = np.full(_N_RATES, _share(self.rate, _RATE) / _N_RATES)
        power = np.repeat([_share(limits, _POWER) for limits in self.power], _N_POWERS)
        power *= _share(self.offset, _OFFSET) / (_N_POWERS * _N_OFFSETS)
        return np.asarray(np.log(0.5 * np.concatenate([exponential, power])), dtype=float)

    def around(self, log_weight: Array) -> _Grid:
        """The part of this grid that holds the likely laws of each family, with a margin."""
        best = log_weight.max(axis=1)
        power = best[_N_RATES:].reshape(_N_OFFSETS, _N_POWERS)
        zoomed = [_zoomed(limits, row) for limits, row in zip(self.power, power, strict=True)]
        offset = _zoomed(self.offset, power.max(axis=1))
        low, high = (
            np.interp(
                np.linspace(*offset, _N_OFFSETS),
                np.linspace(*self.offset, _N_OFFSETS),
                [limits[end] for limits in zoomed],
            ).tolist()
            for end in (0, 1)
        )
        return _Grid(
            rate=_zoomed(self.rate, best[:_N_RATES]),
            offset=offset,
            power=tuple(zip(low, high, strict=True)),
        )


def _share(part: Range, whole: Range) -> float:
    return (part[1] - part[0]) / (whole[1] - whole[0])


def _zoomed(limits: Range, log_weight: Array) -> Range:
    """The limits of the likely places of one axis, one and a half cells wider on either side."""
    places = np.linspace(*limits, len(log_weight))
    likely = places[log_weight >= log_weight.max() + np.log(_LIKELY)]
    margin = 1.5 * (places[1] - places[0])
    return float(max(limits[0], likely[0] - margin)), float(min(limits[1], likely[-1] + margin))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fit:
    """Least squares of every law of a grid (rows) from every start of the curve (columns)."""

    rise: Array  # over the visible window
    error: Array  # standard error of `rise`
    span: Array  # what the law uses up over the visible window
    degrees: Array  # of freedom, one per start
    log_weight: Array

    @classmethod
    def of(cls, grid: _Grid, t: Array, y: Array, *, resolution: float) -> _Fit:
        """Fit level and rise; the sums over the points from a start on are cumulated sums."""
        starts = _starts(len(t))
        n = len(t) - starts
        left = grid.shapes().left(t)
        ahead, value = left - left[:, -1:], y - y[-1]
        span = ahead[:, starts]
        visible = span > 1e-9 * left[:, :1]  # else the law is flat from this start on
        span = np.where(visible, span, 1.0)
        sum_ahead, sum_value = _tails(ahead)[:, starts] / span, _tails(value)[starts]
        square = _tails(ahead**2)[:, starts] / span**2 - sum_ahead**2 / n
        square = np.where(visible, square, 1.0)
        product = _tails(ahead * value)[:, starts] / span - sum_ahead * sum_value / n
        rise = -product / square
        total = _tails(value**2)[starts] - sum_value**2 / n
        residual = np.maximum(total - rise**2 * square, 0.0) + (resolution / 4) ** 2
        degrees = np.asarray(
            n - 1.0, dtype=float
        )  # n points, less level and rise, and the prior's one
        log_weight = (
            grid.log_prior()[:, None]
            - 0.5 * np.log(square)
            - 0.5 * degrees * np.log(residual)
            + gammaln(0.5 * degrees)
            - 0.5 * n * np.log(np.pi)
            - starts * np.log(float(np.ptp(y)) + resolution)
        )
        return cls(
            rise=rise,
            error=np.sqrt(residual / degrees) / np.sqrt(square),
            span=span,
            degrees=degrees,
            log_weight=np.where(visible, log_weight, -np.inf),
        )


def _tails(rows: Array) -> Array:
    """Sums from each place to the end, along the last axis."""
    return np.cumsum(rows[..., ::-1], axis=-1)[..., ::-1]


def _starts(n: int) -> Index:
    """The first points of the pieces of n points that are fitted, each with MIN_POINTS or more."""
    starts = {start for start in _STARTS if start <= n // 2}
    starts |= {int(fraction * n) for fraction in _START_FRACTIONS}
    return np.array(sorted(start for start in starts if start == 0 or n - start >= MIN_POINTS))


def _representatives(weight: Array) -> tuple[Index, Index, Array]:
    """Rows, columns and weights (adding up to 1) of the entries that stand for all of `weight`.

    Where more than MAX_CURVES are likely (a flat curve is explained by every law), each is drawn
    as often as its weight says, by systematic sampling: evenly spaced places of the cumulated
    weight, so without any chance.
    """
    row, column = np.nonzero(weight > _LIKELY * weight.max())
    kept = weight[row, column] / weight[row, column].sum()
    if len(kept) <= MAX_CURVES:
        return row, column, kept
    places = (np.arange(MAX_CURVES) + 0.5) / MAX_CURVES
    drawn = np.minimum(np.searchsorted(np.cumsum(kept), places), len(kept) - 1)
    return row[drawn], column[drawn], np.full(MAX_CURVES, 1 / MAX_CURVES)


def _in_blocks(t: Array, y: Array) -> tuple[Array, Array]:
    """The curve itself, or its means over equal blocks where it is longer than MAX_POINTS."""
    if len(t) <= MAX_POINTS:
        return t, y
    starts = np.linspace(0, len(t), MAX_POINTS, endpoint=False).astype(int)
    counts = np.diff(np.append(starts, len(t)))
    return np.add.reduceat(t, starts) / counts, np.add.reduceat(y, starts) / counts
