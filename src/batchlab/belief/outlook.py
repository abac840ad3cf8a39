"""Outlook: what each configuration is worth by the belief, and what a further run is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from batchlab.belief.surface import Surface, margins_of, scatter_at
from batchlab.records.estimate import Estimate

Array = NDArray[np.float64]

N_DRAWS = 1024  # or more, where there are many configurations
# A chance is about the means of this many further trainings of both configurations. By bad luck
# alone one of them may come out worse.
_N_JUDGING = 5
# Octaves of cost that a user would give not to end worse than now, than the same batch size at its
# best rate, and not to miss the level.
_ENDS_WORSE, _ENDS_WORSE_THAN_TUNED, _MISSES = 4.0, 0.5, 2.0
_NEVER = -1e3  # the utility of what failed
# Slopes fitted to few draws are shrunk: they are never quite 0, even where a run shows nothing.
_SHRINK = 4.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Scatter:
    """How far the seeds of one configuration lie apart: standard deviations."""

    cost: float  # of log2 of the cost to the level
    end: float  # of the final value, in margins


@dataclass(frozen=True, kw_only=True, slots=True)
class Noise:
    """Standard normal numbers, the same at every look: what differs then is what was seen.

    Draws come in pairs of opposite sign, and no two numbers correlate over them. So what is linear
    in the belief has its exact mean and covariance; the rest hardly correlates by chance.
    """

    surface: Array  # shape (draws, 2 n)
    run: Array  # shape (draws, 2)
    luck: Array  # shape (draws,)

    @classmethod
    def of(cls, n: int) -> Noise:
        """Return the numbers for n configurations."""
        numbers = 2 * n + 3
        half = max(N_DRAWS // 2, numbers)
        drawn = np.random.default_rng(0).standard_normal((half, numbers))
        one = np.linalg.qr(drawn).Q * math.sqrt(half)
        both = np.concatenate([one, -one])
        return cls(surface=both[:, 3:], run=both[:, :2], luck=both[:, 2])


@dataclass(frozen=True, kw_only=True, slots=True)
class Aim:
    """What is asked for, and what the configurations are compared with.

    Attributes:
        own: the user's own configuration, by its place.
        same_size: the configurations with the user's batch size.
        is_tuned: compare with the same batch size at its best rate, as nobody chose the rate.
        ends_count: whether final values count; not where the user gave the level.
        costs_count: whether costs count; not where the best final value is asked for.
        most_cost: log2 of the cost of a whole training, shape (n,); infinite if it is not known.
        step_error: standard deviation of what a step costs over what one of the user's does, in
            octaves, shape (n,).
    """

    own: int
    same_size: Sequence[int]
    is_tuned: bool
    ends_count: bool
    costs_count: bool
    most_cost: Array
    step_error: Array


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run that may come next, or several seeds of one configuration."""

    at: int  # the configuration
    n_seeds: int
    shows_cost: bool
    shows_end: bool
    end_error: float = 0.0  # of the final value beside the scatter of seeds, on the surface's scale


def estimate_of(draws: Array, *, n: int) -> Estimate:
    """Return the median of draws with their middle 95 %."""
    low, middle, high = (float(value) for value in np.quantile(draws, (0.025, 0.5, 0.975)))
    return Estimate.of(middle, interval=(low, high), n=n)


def chance_after(chance: Array, moved: Array) -> Array:
    """Return what chances become when a run is seen, given how a linear model would move them.

    Each statement is taken to say that a normal variable is above 0. That variable correlates with
    what the run shows, so the chance is a probit of it and stays between 0 and 1.

    Args:
        chance: shape (n,), before.
        moved: shape (draws, n), of mean 0.

    Returns:
        Shape (draws, n).
    """
    sd = moved.std(axis=0) + 1e-12
    before = ndtri(np.clip(chance, 1e-3, 1 - 1e-3))
    # An indicator's covariance with a normal variable is the density times that of the two.
    correlation = np.minimum(sd * math.sqrt(2 * math.pi) * np.exp(before**2 / 2), 0.98)
    standard = (before + correlation * moved / sd) / np.sqrt(1 - correlation**2)
    return np.asarray(ndtr(standard))


def _above(mean: Array, sd: float | Array) -> Array:
    """Return the probability that a normal variable is above 0, in each draw of its mean."""
    return np.asarray(ndtr(mean / np.maximum(sd, 1e-9)))


class Outlook:
    """All statements are read off the same joint draws, so they agree with each other.

    Attributes:
        cost: log2 of the cost to the level, shape (draws, n) like the following.
        end: by how many margins a training ends worse than the reference.
        worse: the probability that five more trainings end worse, in each draw of the belief.
        slower: the probability that they are slower.
        likely_tuned: the configuration that most likely has the best rate of the user's batch size.
    """

    def __init__(
        self,
        surface: Surface,
        scatter: Scatter,
        noise: Noise,
        aim: Aim,
        *,
        failed: Sequence[int],
        holds: Array,
    ) -> None:
        """Draw from the belief.

        Args:
            surface: the belief.
            scatter: of seeds.
            noise: to draw with.
            aim: what is asked for.
            failed: configurations of which a training failed.
            holds: the probability that the next training does not fail, shape (n,).
        """
        self.cost, end = surface.draws(noise.surface)
        self.end = margins_of(end)
        self._scatter, self._noise, self._aim = scatter, noise, aim
        draws = np.arange(len(self.cost))
        same = [i for i in aim.same_size if i not in failed] or list(aim.same_size)
        tuned = np.asarray(same)[np.argmin(self.cost[:, same], axis=1)]
        self.likely_tuned = int(np.bincount(tuned).argmax())
        self.tuned_cost = self.cost[draws, tuned]
        beside = tuned if aim.is_tuned else np.full(len(draws), aim.own)
        self.beside_cost = self.cost[draws, beside][:, None]
        self.beside_end = self.end[draws, beside][:, None]
        # By how much five trainings of each differ beyond the belief's: luck.
        luck = math.sqrt(2 / _N_JUDGING)
        self._cost_luck = np.hypot(luck * scatter.cost, aim.step_error)
        self.worse = _above(self.end - self.beside_end - 1, luck * scatter.end)
        self.slower = _above(self.cost - self.beside_cost, self._cost_luck)
        self.worse[draws, beside] = self.slower[draws, beside] = 0.0
        if not aim.ends_count:
            self.worse[:] = 0.0
        if not aim.costs_count:
            self.slower[:] = 0.0
        utility = self._utility(self.end[draws, tuned][:, None])
        utility[:, list(failed)] = _NEVER
        no_worse = (1 - self.worse) * (1 - self.slower)
        self._outcomes = np.concatenate([utility, no_worse * holds], axis=1)
        self._expected = self._outcomes.mean(axis=0)
        self._variance = self._outcomes.var(axis=0)

    def _utility(self, tuned_end: Array) -> Array:
        """What each configuration is worth in each draw, in octaves of cost."""
        aim = self._aim
        if not aim.costs_count:
            return np.asarray(-self.end)
        utility = -self.cost - _MISSES * (self.cost > aim.most_cost + 0.1)
        if aim.ends_count:
            utility -= _ENDS_WORSE * self.worse
            better = np.minimum(self.beside_end, tuned_end)
            utility -= _ENDS_WORSE_THAN_TUNED * (self.end > better + 1)
        return np.asarray(utility)

    @property
    def utility(self) -> Array:
        """Expected utility of each configuration, in octaves, shape (n,)."""
        return np.asarray(self._expected[: self.cost.shape[1]])

    @property
    def chance(self) -> Array:
        """Probability that five more trainings are neither slower nor end worse, shape (n,)."""
        return np.asarray(self._expected[self.cost.shape[1] :])

    def gain_draws(self, at: int) -> Array:
        """Return draws of log2 of the cost compared with over that of a configuration.

        They are of five further trainings of both, those that the chance is about.
        """
        return self._with_luck(self.beside_cost[:, 0] - self.cost[:, at], at)

    def gain_over_tuned_draws(self, at: int) -> Array:
        """Return the same draws over the user's batch size at its best rate, trained or not."""
        return self._with_luck(self.tuned_cost - self.cost[:, at], at)

    def _with_luck(self, apart: Array, at: int) -> Array:
        luck = self._cost_luck[at] * self._noise.luck
        return np.asarray(apart - luck * (apart != 0))

    def best(self, nameable: Sequence[int], least_chance: float) -> int:
        """Return the best that is likely to be no worse, or else what stays."""
        stays = self.stays(nameable)
        likely = [i for i in nameable if self.chance[i] >= least_chance or i == stays]
        return max(likely or [stays], key=lambda i: (self.utility[i], -i))

    def stays(self, nameable: Sequence[int]) -> int:
        """Return what is named where nothing is likely better: the user's own configuration.

        Where nobody chose the rate, the same batch size at its best rate.
        """
        same = set(nameable) & set(self._aim.same_size) if self._aim.is_tuned else set()
        return max(same or {self._aim.own}, key=lambda i: (self.utility[i], -i))

    def gains(
        self, run: Run, nameable: Sequence[int], named: int, least_chance: float
    ) -> tuple[float, float]:
        """Return what a run is expected to add to the utility of what is named, in octaves.

        The first figure asks that what is named be likely to be no worse, the second does not. The
        utility of every configuration is taken as linear in what the run shows, its chance as a
        probit of that.
        """
        n, at = self.cost.shape[1], run.at
        fewer = 1 / math.sqrt(run.n_seeds)
        shown = []
        if run.shows_cost:
            shown.append(self.cost[:, at] + fewer * self._scatter.cost * self._noise.run[:, 0])
        if run.shows_end:
            sd = np.hypot(scatter_at(self.end[:, at], fewer * self._scatter.end), run.end_error)
            shown.append(np.arcsinh(self.end[:, at]) + sd * self._noise.run[:, 1])
        if not shown:
            return 0.0, 0.0
        z = np.stack(shown, axis=1)
        z -= z.mean(axis=0)
        candidates = list(nameable) if at in nameable else [*nameable, at]
        both = [*candidates, *(n + j for j in candidates)]
        n_draws, with_z = len(z), (z.T @ self._outcomes)[:, both]
        slope = np.linalg.solve(z.T @ z + 1e-9 * np.eye(len(shown)), with_z)
        variance = n_draws * self._variance[both] + 1e-9
        explained = np.clip((slope * with_z).sum(0) / variance, 1e-12, 1)
        slope *= np.maximum(0.0, 1 - _SHRINK * len(shown) / n_draws / explained)
        utility, moved = np.split(z @ slope, 2, axis=1)
        utility += self.utility[candidates]
        chance = chance_after(self.chance[candidates], moved)
        best = utility.max(axis=1).mean() - max(self.utility[list(nameable)], default=-np.inf)
        unlikely = (chance < least_chance) & (np.array(candidates) != self.stays(nameable))
        utility[unlikely] = -np.inf
        likely = utility.max(axis=1).mean() - self.utility[named]
        return round(float(likely), 6), round(float(best), 6)
