"""Outlook: the expected utility of each configuration, and the gain from a further run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, ndtr, ndtri

from batchlab.belief.surface import Surface, margins_of, scatter_at
from batchlab.records.estimate import Estimate

Array = NDArray[np.float64]

N_DRAWS = 1024  # or more, if there are many configurations
# A chance is about the means of this many further trainings of both configurations, because a
# single one may come out worse just by bad luck.
_N_JUDGING = 5
# Octaves of cost that weigh as much as ending worse than the user's configuration, and as ending
# worse than the user's batch size at its best rate.
_ENDS_WORSE, _ENDS_WORSE_THAN_TUNED = 4.0, 0.5
# A training that ends this many standard deviations of seeds below the level meets it in half of
# the cases, because a curve wobbles and has to hold the level for only a tenth more examples. The
# number was fitted to the recorded trainings (benchmarks/results/coverage.md, "Missed trainings").
STILL_MEETS = 0.5
_NEVER = -1e3  # the utility of a configuration that failed
# Slopes fitted to few draws are shrunk, as they are never quite 0 even if a run shows nothing.
_SHRINK = 4.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Scatter:
    """The standard deviations over the seeds of one configuration."""

    cost: float  # of log2 of the cost to the level
    end: Array  # of the final value, in margins: k equally likely values, shape (k, n)


@dataclass(frozen=True, kw_only=True, slots=True)
class StandardNoise:
    """Standard normal numbers, always the same, so that only observations change the results.

    Draws come in pairs of opposite sign, and no two numbers correlate over them. So a quantity that
    is linear in the belief has its exact mean; other quantities hardly correlate by chance.
    """

    surface: Array  # shape (draws, 2 n)
    run: Array  # shape (draws, 2)
    luck: Array  # shape (draws,)
    misses: Array  # shape (draws, 2)

    @classmethod
    def of(cls, n: int) -> StandardNoise:
        """Return the numbers for n configurations."""
        numbers = 2 * n + 5
        half = max(N_DRAWS // 2, numbers)
        drawn = np.random.default_rng(0).standard_normal((half, numbers))
        one = np.linalg.qr(drawn).Q * math.sqrt(half)
        both = np.concatenate([one, -one])
        return cls(surface=both[:, 5:], run=both[:, :2], luck=both[:, 2], misses=both[:, 3:5])


@dataclass(frozen=True, kw_only=True, slots=True)
class Aim:
    """The question, and the configuration that the others are compared with.

    Attributes:
        own: the index of the user's own configuration.
        same_size: the configurations with the user's batch size.
        is_tuned: whether others are compared with the user's batch size at its best rate instead.
        ends_count: whether final values count; they do not if the user gave the level.
        costs_count: whether costs count; they do not if the best final value is asked for.
        most_cost: log2 of the cost of a whole training, shape (n,); infinite if it is not known.
        known_cost: log2 of the cost of a training to its end, shape (n,), if only that is compared;
            None if a training costs what it takes to the level.
        level: by how many margins the level is worse than the end of the reference.
        step_error: standard deviation of a step's cost over that of the user's configuration, in
            octaves, shape (n,).
    """

    own: int
    same_size: Sequence[int]
    is_tuned: bool
    ends_count: bool
    costs_count: bool
    most_cost: Array
    level: float
    step_error: Array
    known_cost: Array | None = None

    @property
    def counts_misses(self) -> bool:
        """Whether the final value and the cost at which a training misses the level are known."""
        return self.ends_count and bool(np.isfinite(self.most_cost).all())


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run that may come next, or several seeds of one configuration."""

    at: int  # the configuration
    n_seeds: int
    shows_cost: bool
    shows_end: bool
    end_error: float = 0.0  # error of the final value on the surface's scale, without seed scatter


def estimate_of(draws: Array, *, n: int) -> Estimate:
    """Return the median of draws with their middle 95 %."""
    low, middle, high = np.quantile(draws, (0.025, 0.5, 0.975)).tolist()
    return Estimate.of(middle, interval=(low, high), n=n)


def move_to_reach(least_chance: float, chance: Array, sd: Array) -> Array:
    """Return how far a linear model has to move each chance until it is the least one.

    Each statement is taken to say that a normal variable is above 0. That variable correlates with
    a run's result, so the chance after the run is a probit of the result and stays between 0 and 1.

    Args:
        least_chance: the chance to reach.
        chance: the chances before the run, shape (n,).
        sd: standard deviations of the moves that the linear model gives them, shape (n,).

    Returns:
        Shape (n,): if the model moves a chance by less, the chance stays below `least_chance`.
    """
    sd = sd + 1e-12
    before = ndtri(np.clip(chance, 1e-3, 1 - 1e-3))
    # An indicator's covariance with a normal variable is the density times the two's covariance.
    correlation = np.minimum(sd * math.sqrt(2 * math.pi) * np.exp(before**2 / 2), 0.98)
    needed = ndtri(least_chance) * np.sqrt(1 - correlation**2) - before
    return np.asarray(needed * sd / correlation)


def _above(mean: Array, sd: float | Array) -> Array:
    """Return the probability that a normal variable is above 0, in each draw of its mean."""
    return np.asarray(ndtr(mean / np.maximum(sd, 1e-9)))


class Outlook:
    """The statements about all configurations, read off the same joint draws so that they agree.

    Attributes:
        cost: log2 of the cost of a training that meets the level, shape (draws, n) like the
            following.
        end: by how many margins a training ends worse than the reference.
        misses: the probability that a training does not meet the level.
        mean_cost: log2 of the mean cost of trainings, if those that miss the level go to their end.
        worse: the probability that five more trainings end worse, in each draw of the belief.
        slower: the probability that they are slower.
        likely_tuned: the configuration that most likely has the best rate of the user's batch size.
    """

    def __init__(
        self,
        surfaces: Sequence[Surface],
        scatter: Scatter,
        noise: StandardNoise,
        aim: Aim,
        *,
        failed: Sequence[int],
        holds: Array,
    ) -> None:
        """Draw from the belief.

        Args:
            surfaces: the belief, given each of the scatters of final values.
            scatter: the scatter of seeds.
            noise: the numbers to draw with.
            aim: the question.
            failed: configurations with a training that failed.
            holds: the probability that the next training does not fail, shape (n,).
        """
        self._scatter, self._noise, self._aim = scatter, noise, aim
        draws = np.arange(len(noise.surface))
        surface_of = (
            draws % (len(draws) // 2) % len(surfaces)
        )  # both of a pair have the same scatter
        self.cost, end = np.empty((2, len(draws), len(aim.most_cost)))
        for k, surface in enumerate(surfaces):
            self.cost[surface_of == k], end[surface_of == k] = surface.draws(
                noise.surface[surface_of == k]
            )
        if aim.known_cost is not None:
            self.cost[:] = aim.known_cost
        self.end, self._end_sd = margins_of(end), scatter.end[surface_of]
        self.misses, self._late = np.zeros_like(end), np.zeros_like(end)
        if aim.counts_misses and aim.known_cost is None:
            self.misses = ndtr((self.end - aim.level) / self._end_sd - STILL_MEETS)
            # The extra cost of a miss, over the cost of a training that meets the level.
            self._late = np.exp2(np.maximum(aim.most_cost - self.cost, 0)) - 1
        self.mean_cost = self.cost + np.log2(1 + self.misses * self._late)
        same = [i for i in aim.same_size if i not in failed] or list(aim.same_size)
        merit = self.mean_cost if aim.known_cost is None else self.end
        self._tuned = np.asarray(same)[np.argmin(merit[:, same], axis=1)]
        self.likely_tuned = int(np.bincount(self._tuned).argmax())
        self._beside = self._tuned if aim.is_tuned else np.full(len(draws), aim.own)
        beside = draws, self._beside
        # The means of five trainings of each configuration also differ by luck.
        luck = math.sqrt(1 / _N_JUDGING)
        self._cost_luck = np.hypot(math.sqrt(2) * luck * scatter.cost, aim.step_error)
        share = self._late / (1 + self.misses * self._late) / math.log(2)
        missed = share * np.sqrt(self.misses * (1 - self.misses) / _N_JUDGING)
        self.slower = _above(
            self.mean_cost - self.mean_cost[beside][:, None],
            np.hypot(self._cost_luck, np.hypot(missed, missed[beside][:, None])),
        )
        self._beside_end = self.end[beside][:, None]
        end_luck = luck * np.hypot(self._end_sd, self._end_sd[beside][:, None])
        self.worse = _above(self.end - self._beside_end - 1, end_luck)
        self.worse[beside] = self.slower[beside] = 0.0
        if not aim.ends_count:
            self.worse[:] = 0.0
        if not aim.costs_count:
            self.slower[:] = 0.0
        utility = self._utility(self.end[draws, self._tuned][:, None])
        utility[:, list(failed)] = _NEVER
        no_worse = (1 - self.worse) * (1 - self.slower)
        self._outcomes = np.concatenate([utility.T, (no_worse * holds).T])  # shape (2 n, draws)
        self._expected = self._outcomes.mean(axis=1)
        self._variance = self._outcomes.var(axis=1)

    def _utility(self, tuned_end: Array) -> Array:
        """Return the utility of each configuration in each draw, in octaves of cost."""
        aim = self._aim
        if not aim.costs_count:
            return np.asarray(-self.end)
        utility = -self.mean_cost
        if aim.ends_count:
            utility -= _ENDS_WORSE * self.worse
            better = np.minimum(self._beside_end, tuned_end)
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
        """Return draws of log2 of the reference's cost over that of a configuration.

        Both costs are means of five further trainings, as for the chance.
        """
        return self._gain_over(self._beside, at)

    def gain_over_tuned_draws(self, at: int) -> Array:
        """Return such draws with the user's batch size at its best rate as the reference."""
        return self._gain_over(self._tuned, at)

    def _gain_over(self, other: Array, at: int) -> Array:
        both, mine = [], np.full_like(other, at)
        for places, luck in zip((other, mine), self._noise.misses.T, strict=True):
            one = np.arange(len(other)), places
            at_most = bdtr(np.arange(_N_JUDGING)[:, None], _N_JUDGING, self.misses[one])
            n_missed = np.sum(at_most < ndtr(luck), axis=0)
            both.append(self.cost[one] + np.log2(1 + n_missed / _N_JUDGING * self._late[one]))
        apart = both[0] - both[1] - self._cost_luck[at] * self._noise.luck
        return np.where(other == at, 0.0, apart)

    def best(self, nameable: Sequence[int], least_chance: float) -> int:
        """Return the best configuration that is likely to be no worse, or else that of `stays`."""
        is_likely = self.chance >= least_chance
        likely = {*nameable} & {*np.flatnonzero(is_likely).tolist()}
        return self.most_useful(likely | {self.stays(nameable)})

    def most_useful(self, some: Iterable[int]) -> int:
        """Return the configuration of the highest utility, the first one in a tie."""
        return int(max(some, key=lambda i: (self.utility[i], -i)))

    def stays(self, nameable: Sequence[int]) -> int:
        """Return the configuration to name if none is likely better: the user's own.

        If nobody chose the rate, it is the same batch size at its best rate.
        """
        if not self._aim.is_tuned:
            return self._aim.own
        same = {*nameable} & {*self._aim.same_size}
        return self.most_useful(same or {self._aim.own})

    def gains(
        self, run: Run, nameable: Sequence[int], named: int, least_chance: float
    ) -> tuple[float, float]:
        """Return the expected gain in utility of the named configuration by a run, in octaves.

        The first figure requires that the named configuration is likely no worse, the second does
        not. The utility of every configuration is taken as linear in the run's result, and
        its chance as a probit of that result.
        """
        n, at = self.cost.shape[1], run.at
        fewer = 1 / math.sqrt(run.n_seeds)
        shown = []
        if run.shows_cost:
            shown.append(self.cost[:, at] + fewer * self._scatter.cost * self._noise.run[:, 0])
        if run.shows_end:
            sd = np.hypot(scatter_at(self.end[:, at], fewer * self._end_sd[:, at]), run.end_error)
            shown.append(np.arcsinh(self.end[:, at]) + sd * self._noise.run[:, 1])
        if not shown:
            return 0.0, 0.0
        z = np.stack(shown)
        z -= z.mean(axis=1, keepdims=True)
        n_draws, z_squared = z.shape[1], z @ z.T
        candidates = np.array([*nameable, at] if at not in nameable else nameable)
        both = np.concatenate([candidates, n + candidates])
        with_z = z @ self._outcomes[both].T
        slope = np.linalg.solve(z_squared + 1e-9 * np.eye(len(shown)), with_z)
        variance = n_draws * self._variance[both] + 1e-9
        explained = np.clip((slope * with_z).sum(0) / variance, 1e-12, 1)
        slope *= np.maximum(0.0, 1 - _SHRINK * len(shown) / n_draws / explained)
        utility, moved = np.split(slope.T @ z, 2)
        utility += self.utility[candidates, None]
        best = utility.max(axis=0).mean() - max(self.utility[list(nameable)], default=-np.inf)
        sd = np.sqrt((slope * (z_squared @ slope)).sum(0) / n_draws)[len(candidates) :]
        least_move = move_to_reach(least_chance, self.chance[candidates], sd)
        least_move[candidates == self.stays(nameable)] = -np.inf
        utility[moved < least_move[:, None]] = -np.inf
        likely = utility.max(axis=0).mean() - self.utility[named]
        return round(float(likely), 6), round(float(best), 6)
