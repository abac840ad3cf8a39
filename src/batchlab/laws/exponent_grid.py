"""ExponentGrid: curves of the generalized law around one of them, and how likely each is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from batchlab.laws.free_curve import FreeCurve
from batchlab.laws.steps_curve import places
from batchlab.laws.steps_posterior import Grid
from batchlab.laws.steps_table import Array, StepsTable

_N_FALLS = 25


@dataclass(frozen=True, kw_only=True, slots=True)
class ExponentGrid:
    """Exponents, the falls at each, and the grid of densities over both.

    Attributes:
        log_exponent: ascending, shape (a,).
        fall: of each exponent, shape (a, f).
        grid: over exponents and falls, flat, with the ratios of tau to sigma.
    """

    log_exponent: Array
    fall: Array
    grid: Grid

    @classmethod
    def around(
        cls,
        curve: FreeCurve,
        table: StepsTable,
        kappa: Array,
        *,
        log_exponent: Array,
        log_prior: Array,
        spread: float,
        reach: float,
        ratios: tuple[Array, Array],
    ) -> ExponentGrid:
        """The grid at these exponents, the falls spread around what fits at each.

        Args:
            curve: the one in the middle.
            table: the observations.
            kappa: variances of the batch sizes' means over that of one seed, shape (k,).
            log_exponent: ascending, shape (a,).
            log_prior: density of each, shape (a,).
            spread: standard deviation of a mean around the curve.
            reach: of the falls, in standard errors.
            ratios: values of (tau / sigma)^2 and the log prior of their cells.
        """
        # Fall and exponent lie on a ridge: the falls follow it, and are spread around it.
        covariance, across = curve.covariance(spread), curve.fall_sd(spread)
        ridge = curve.fall + covariance[0, 1] / covariance[0, 0] * (
            log_exponent - curve.log_exponent
        )
        edge = np.sinh(np.linspace(-1, 1, _N_FALLS) * np.arcsinh(reach))
        fall = np.clip(ridge[:, None] + across * edge, -20, 60)
        smallest, largest = table.batch_size[0], table.batch_size[-1]
        place = np.array(
            [places(table.batch_size, smallest, largest, a) for a in np.exp(log_exponent)]
        )
        # Rounding can put the first place a hair above 1, and the logarithm below its domain.
        place = np.minimum(place, 1.0)
        curves = np.log1p(place[:, None, :] * np.expm1(fall)[..., None])
        # The largest batch size has place 0: there the curve is its level.
        exact = curve.fitted - curve.fitted[-1]
        width = np.log(np.maximum(np.gradient(fall, axis=1), 1e-300))
        across_exponents = np.log(np.maximum(np.gradient(log_exponent), 1e-300)) + log_prior
        grid = Grid(
            fall=fall.ravel(),
            log_width=(width + across_exponents[:, None]).ravel(),
            ratio_sq=ratios[0],
            log_prior=ratios[1],
            kappa=kappa,
            fitted=curve.fitted,
            drop=(curves - exact).reshape(-1, len(kappa)),
        )
        return cls(log_exponent=log_exponent, fall=fall, grid=grid)
