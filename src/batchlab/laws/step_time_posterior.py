"""StepTimePosterior: the curves of the step-time law that measured times leave possible."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Curves", "StepTimePosterior", "least_squares"]

Array = NDArray[np.float64]

# Roundness of the knee, 1/p. 1: overhead plus examples, one after the other, as in one thread.
# Towards 0: the longer of the two, as on a device that overlaps them. Above 1: small batches slow
# down before the machine is full, because of caches and vector units.
_ROUNDNESS = (0.1, 1.6)
# How far beyond the measured batch sizes the search for the knee goes, as a logarithm. The prior
# falls in proportion there, so the reach itself does not matter.
_REACH = 7.0
# Single batch sizes lie off every smooth law: kernels and caches change with the shape. The prior
# is half-Cauchy with this median; it counts where there are too few points to see the scatter.
_OFF_THE_LAW = 0.03
_OFF_LIMITS = (1e-3, 1.0)
_CELLS = {"knee": 61, "round": 25, "off": 18}
_N_DRAWS = 4000
# Each zoom narrows the search to three of its cells.
_ZOOMS, _ROUNDNESSES_A_ZOOM, _KNEES_A_ZOOM = 9, 15, 21
# A log likelihood may fall by half of the 95 % quantile of chi squared with one degree.
_LOG_LIKELIHOOD_95 = 1.92


@dataclass(frozen=True, kw_only=True, slots=True)
class Curves:
    """One curve or many of the law, a row each."""

    log_overhead: Array
    log_knee: Array
    roundness: Array

    def log_s(self, batch_sizes: Sequence[int]) -> Array:
        """Log seconds per step, shape (curves, batch sizes)."""
        rise = _log_rise(np.log(batch_sizes), self.log_knee, self.roundness)
        return np.asarray(self.log_overhead[:, None] + rise)


def _log_rise(log_sizes: Array, log_knee: Array, roundness: Array) -> Array:
    """Log of the law over its overhead: log (1 + (B/knee)^p) / p, a row for each knee."""
    away = (log_sizes - log_knee[..., None]) / roundness[..., None]
    return np.asarray(roundness[..., None] * np.logaddexp(0.0, away))


def _level(log_s: Array, rise: Array, weight: Array) -> tuple[Array, Array]:
    """Log overhead of least squares for each row of `rise`, and its sum of squares."""
    away = log_s - rise
    total = weight.sum(axis=-1)
    level = (weight * away).sum(axis=-1) / total
    return level, (weight * (away - level[..., None]) ** 2).sum(axis=-1)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Axis:
    """Cells along one parameter, fine around the point of least squares and coarse far from it."""

    edges: Array

    @classmethod
    def around(cls, centre: float, limits: tuple[float, float], *, fine: float, n: int) -> _Axis:
        """`n` cells from limit to limit; those within `fine` of the centre are the narrowest."""
        low, high = (math.asinh((limit - centre) / fine) for limit in limits)
        return cls(edges=centre + fine * np.sinh(np.linspace(low, high, n + 1)))

    @property
    def centres(self) -> Array:
        return np.asarray((self.edges[1:] + self.edges[:-1]) / 2)

    @property
    def widths(self) -> Array:
        return np.diff(self.edges)

    def drawn(self, places: NDArray[np.intp], generator: np.random.Generator) -> Array:
        """A value anywhere within the cell at each of `places`."""
        return np.asarray(self.edges[places] + generator.random(len(places)) * self.widths[places])


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTimePosterior:
    """The posterior of knee, roundness and deviation, cell by cell.

    Attributes:
        knee: of the logarithm of the knee.
        round: of the roundness.
        off: of the logarithm of the deviation.
        weight: probability of each cell, shape (knee, round, off).
        no_overhead: whether a line through the origin (a knee at 0) fits nearly as well.
        no_slope: whether a constant (a knee at infinity) does.
    """

    log_sizes: Array
    log_s: Array
    own_sq: Array
    knee: _Axis
    round: _Axis
    off: _Axis
    weight: Array
    no_overhead: bool
    no_slope: bool

    @classmethod
    def of(cls, log_sizes: Array, log_s: Array, own_sq: Array) -> StepTimePosterior:
        """The posterior given log times at log batch sizes, with the variances of their own."""
        middle = least_squares(log_sizes, log_s, 1 / (_OFF_THE_LAW**2 + own_sq))
        knee = _Axis.around(
            float(middle.log_knee[0]), _knee_limits(log_sizes), fine=0.01, n=_CELLS["knee"]
        )
        round_ = _Axis.around(float(middle.roundness[0]), _ROUNDNESS, fine=0.02, n=_CELLS["round"])
        least, most = map(math.log, _OFF_LIMITS)
        off = _Axis(edges=np.linspace(least, most, _CELLS["off"] + 1))
        density = _log_likelihood(
            log_sizes, log_s, own_sq, knee.centres, round_.centres, off.centres
        ) - np.log1p(np.exp(2 * (off.centres - math.log(_OFF_THE_LAW))))
        weight = np.exp(density - density.max()) * round_.widths[:, None] * np.exp(off.centres)
        by_knee = weight.sum(axis=(1, 2))
        # The ends of the axis are knees so far out that there is none; compare with the best.
        seen = math.exp(-_LOG_LIKELIHOOD_95) * by_knee.max()
        beyond = np.minimum(knee.centres - log_sizes[0], 0) + np.minimum(
            log_sizes[-1] - knee.centres, 0
        )
        weight *= (knee.widths * np.exp(beyond))[:, None, None]
        return cls(
            log_sizes=log_sizes,
            log_s=log_s,
            own_sq=own_sq,
            knee=knee,
            round=round_,
            off=off,
            weight=weight / weight.sum(),
            no_overhead=bool(by_knee[0] > seen),
            no_slope=bool(by_knee[-1] > seen),
        )

    def typical_off(self) -> float:
        """The deviation of single batch sizes: its geometric mean over the posterior."""
        return math.exp(float(self.weight.sum(axis=(0, 1)) @ self.off.centres))

    def draw(self, generator: np.random.Generator) -> tuple[Curves, Array]:
        """Curves of the law that the times leave possible, each with its deviation."""
        # Evenly spaced shares of the cells' sum: less noise in the quantiles than random ones.
        shares = (np.arange(_N_DRAWS) + generator.random()) / _N_DRAWS
        cells = np.searchsorted(np.cumsum(self.weight.ravel()), shares)
        places = np.unravel_index(np.minimum(cells, self.weight.size - 1), self.weight.shape)
        knee = self.knee.drawn(places[0], generator)
        roundness = self.round.drawn(places[1], generator)
        off_log = self.off.drawn(places[2], generator)
        weight = 1 / (np.exp(2 * off_log)[:, None] + self.own_sq)
        level, _ = _level(self.log_s, _log_rise(self.log_sizes, knee, roundness), weight)
        noise = generator.standard_normal(_N_DRAWS) / np.sqrt(weight.sum(axis=1))
        curves = Curves(log_overhead=level + noise, log_knee=knee, roundness=roundness)
        return curves, np.exp(off_log)


def _knee_limits(log_sizes: Array) -> tuple[float, float]:
    return float(log_sizes[0]) - _REACH, float(log_sizes[-1]) + _REACH


def _log_likelihood(
    log_sizes: Array, log_s: Array, own_sq: Array, knee: Array, roundness: Array, off_log: Array
) -> Array:
    """Log likelihood of each cell, summed over the overhead: shape (knee, round, off)."""
    knees, rounds = np.meshgrid(knee, roundness, indexing="ij")
    rise = _log_rise(log_sizes, knees, rounds)[:, :, None, :]
    weight = 1 / (np.exp(2 * off_log)[:, None] + own_sq)
    _, square = _level(log_s, rise, weight)
    scale = np.log(weight).sum(axis=-1) - np.log(weight.sum(axis=-1))
    return np.asarray(0.5 * (scale - square))


def least_squares(log_sizes: Array, log_s: Array, weight: Array) -> Curves:
    """The curve of least squares: the best knee for each roundness, and the best of those."""
    # scipy.optimize.least_squares reaches the same sums of squares (400 made-up machines, 6e-13) in
    # half the time. But in 21 of them the knee lies outside the measured sizes and the squares are
    # flat: there it stops elsewhere, and the measured coverage belongs to the grid around this
    # point.
    ends = _ROUNDNESS
    for _ in range(_ZOOMS):
        roundness = np.linspace(*ends, _ROUNDNESSES_A_ZOOM)
        knee, level, square = _best_knees(log_sizes, log_s, weight, roundness)
        best = int(np.argmin(square))
        half = 1.5 * (roundness[1] - roundness[0])
        ends = (
            max(_ROUNDNESS[0], float(roundness[best] - half)),
            min(_ROUNDNESS[1], float(roundness[best] + half)),
        )
    one = slice(best, best + 1)
    return Curves(log_overhead=level[one], log_knee=knee[one], roundness=roundness[one])


def _best_knees(
    log_sizes: Array, log_s: Array, weight: Array, roundness: Array
) -> tuple[Array, Array, Array]:
    """For each roundness the log knee of least squares, its log overhead and sum of squares.

    A search over knee and roundness at once stops short: they trade places along a bent valley.
    """
    low, high = _knee_limits(log_sizes)
    centre = np.full(len(roundness), (low + high) / 2)
    half = (high - low) / 2
    rows = np.arange(len(roundness))
    for _ in range(_ZOOMS):
        knees = np.clip(centre[:, None] + half * np.linspace(-1, 1, _KNEES_A_ZOOM), low, high)
        rounds = np.broadcast_to(roundness[:, None], knees.shape)
        level, square = _level(log_s, _log_rise(log_sizes, knees, rounds), weight)
        best = np.argmin(square, axis=1)
        centre = knees[rows, best]
        half *= 3 / (_KNEES_A_ZOOM - 1)
    return centre, level[rows, best], square[rows, best]
