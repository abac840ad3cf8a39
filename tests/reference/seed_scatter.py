"""Slow twin of the pooled scatter of seeds, from Smyth's model in loops, and made-up sweeps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq
from scipy.special import polygamma

from batchlab.belief.cell_means import CellMeans

Array = NDArray[np.float64]


def half_width(
    variances: Sequence[float], n: Sequence[int], at: int, confidence: float, prior=None
) -> float:
    """Half the width of the interval of a cell's mean: one place of d0 and s0² at a time."""
    places = []
    for unlike in np.arange(0.0375, 1.8, 0.075):
        # The d0 at which log standard deviations have this standard deviation.
        d0 = brentq(lambda d0, sd=unlike: polygamma(1, d0 / 2) ** 0.5 / 2 - sd, 1e-3, 1e6)
        for log_usual in np.arange(-26.0, 12.0, 0.5):
            s0_sq = math.exp(log_usual)
            density = stats.lognorm.pdf(unlike, 0.76, scale=math.exp(-1.27))
            if prior is not None:
                t = (log_usual / 2 - prior.log_sd) / prior.log_sd_sd
                density *= stats.t.pdf(t, prior.degrees)
            for s_sq, count in zip(variances, n, strict=True):
                if count > 1:
                    density *= stats.f.pdf(s_sq / s0_sq, count - 1, d0) * s_sq / s0_sq
            if density > 0:
                places.append((density, d0, s0_sq))
    total = sum(density for density, _, _ in places)
    places = [place for place in places if place[0] > 1e-8 * total]
    density, d0, s0_sq = np.array(places).T
    degrees = n[at] - 1 + d0
    variance = ((n[at] - 1) * variances[at] + d0 * s0_sq) / degrees

    def inside(half: float) -> float:
        t = half / (variance / n[at]) ** 0.5
        return (density / total) @ (2 * stats.t.cdf(t, degrees) - 1)

    return brentq(lambda half: inside(half) - confidence, 0, 1e6)


@dataclass(frozen=True, kw_only=True)
class MadeUpCells:
    unlike: float = 0.0  # standard deviation of the log of the cells' own standard deviations
    tail: int | None = None  # degrees of freedom of the seeds' t noise; None: normal
    shared: float = 0.0  # correlation of a seed's noise between cells
    accuracy: bool = False  # values are accuracies near 1, of 1,000 examples, made of log odds

    def draw(self, n_cells: int, n_seeds: int, random: np.random.Generator) -> tuple[Array, Array]:
        """Values, shape (cells, seeds), and the true mean of each cell."""
        sd = np.exp(self.unlike * random.standard_normal(n_cells))[:, None]

        def noise(rows: int, columns: int) -> Array:
            if self.tail is None:
                return random.standard_normal((rows, columns))
            return random.standard_t(self.tail, (rows, columns))

        own = noise(n_cells, n_seeds)
        seen = (1 - self.shared) ** 0.5 * own + self.shared**0.5 * noise(1, n_seeds)
        if not self.accuracy:
            return sd * seen, np.zeros(n_cells)
        log_odds = np.linspace(4.0, 3.0, n_cells)[:, None]  # 0.982 to 0.953
        many = log_odds + 0.15 * sd * noise(n_cells, 4000)
        values = 1 / (1 + np.exp(-(log_odds + 0.15 * sd * seen)))
        return np.round(1000 * values) / 1000, np.mean(1 / (1 + np.exp(-many)), axis=1)


SWEEPS = {
    "equal scatter": MadeUpCells(),
    "scatter unlike, 0.45": MadeUpCells(unlike=0.45),
    "scatter unlike, 0.9": MadeUpCells(unlike=0.9),
    "unlike 0.45, heavy tails (t, 4)": MadeUpCells(unlike=0.45, tail=4),
    "unlike 0.45, seeds shared 0.25": MadeUpCells(unlike=0.45, shared=0.25),
    "accuracies near 1, unlike 0.45": MadeUpCells(unlike=0.45, accuracy=True),
}


def misses(sweep: MadeUpCells, n_cells: int, n_seeds: int, n_studies: int, *, seed=0) -> list[bool]:
    """Whether the 95 % interval of first less last cell missed the truth, study by study."""
    random = np.random.default_rng([seed, n_cells, n_seeds])
    missed = []
    for _ in range(n_studies):
        values, truth = sweep.draw(n_cells, n_seeds, random)
        means = CellMeans.of(
            values.tolist(),
            metric="accuracy" if sweep.accuracy else "a metric",
            better="higher",
            n_examples=1000,
        )
        found = means.difference(0, len(values) - 1)
        missed.append(not found.holds(float(truth[0] - truth[-1])))
    return missed
