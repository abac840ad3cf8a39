"""Outlook: the expected utility of each configuration, and the expected gain from another run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, ndtr, ndtri

from batchlab.belief.surface import Surface, margins_of, scatter_at
from batchlab.records.estimate import Estimate

Array = NDArray[np.float64]

N_DRAWS = 1024  # The least number of draws; many configurations need more.
# A configuration is compared with the baseline by the means of this many further trainings of each,
# because a single training may be worse only by bad luck.
_N_JUDGING = 5
# How much utility a configuration loses if it ends worse than the baseline, and if it ends worse
# than the user's batch size at its best rate. Doubling the cost of trainings loses 1.
_ENDS_WORSE, _ENDS_WORSE_THAN_TUNED = 4.0, 0.5
# If a final value is worse than the target by this many standard deviations over seeds, half of the
# trainings still reach the target. The reason is that a noisy curve may stay beyond the target long
# enough (a tenth more examples) and get worse again before its end. Fitted to recordings
# (benchmarks/results/coverage.md, "Missed trainings").
STILL_MEETS = 0.5
_WEIGHED = 4.0  # In decisions, a final value 27 = sinh(4) margins worse is as bad as any.
_NEVER = -1e3  # The utility of a configuration that failed.
# A line fitted to random draws explains a share of the variance even if the numbers are unrelated.
# So a slope is multiplied by 1 - _SHRINK * (share explained by chance) / (share explained).
_SHRINK = 4.0


@lru_cache(maxsize=4)
def standard_noise(n: int, n_draws: int) -> Array:
    """Generate n standard normal numbers for each draw, with a fixed random seed.

    The numbers are fixed so that results change only with observations. Draws come in pairs of
    opposite sign, and the columns are uncorrelated. So the mean of a quantity that is linear in the
    numbers is exact.
    """
    half = max(n_draws // 2, n)
    drawn = np.random.default_rng(0).standard_normal((half, n))
    one = np.linalg.qr(drawn).Q * math.sqrt(half)
    return np.concatenate([one, -one])


@dataclass(frozen=True, kw_only=True, slots=True)
class Aim:
    """The quantity to optimize, and the configuration that all others are compared with.

    Arrays have the shape (n,) for n configurations.
    """

    own: int  # The index of the user's own configuration.
    same_size: Sequence[int]  # The indices of the configurations with the user's batch size.
    # Whether the baseline is the user's batch size at its best rate, not the configuration `own`.
    is_tuned: bool
    ends_count: bool  # Whether final values matter; False if the user gave a target.
    costs_count: bool  # Whether costs matter; False if only the best final value is wanted.
    most_cost: Array  # log2 of the cost of a whole training; infinite if not known.
    level: float  # How many margins worse the target is than the user's final value.
    # The standard error of log2(cost of a step / cost of a step of the user's configuration).
    step_error: Array
    # log2 of the cost of a whole training, if only whole trainings are compared; None if the costs
    # to the target are compared.
    known_cost: Array | None = None
    # The extra standard deviation of each final value because the pilot was stopped early. Final
    # values are on the scale asinh(margins worse than the user's configuration).
    end_error: float = 0.0

    @property
    def counts_misses(self) -> bool:
        """Whether costs include trainings that miss the target; needs finite `most_cost`."""
        return self.ends_count and bool(np.isfinite(self.most_cost).all())


class Run(NamedTuple):
    """A possible next run: one seed, or several, of one configuration."""

    at: int  # the index of the configuration
    n_seeds: int
    shows_cost: bool  # whether the run will show the cost to the target


def estimate_of(draws: Array, *, n: int) -> Estimate:
    """Return the median of draws, with their quantiles of 2.5 % and 97.5 % as bounds."""
    low, middle, high = np.quantile(draws, (0.025, 0.5, 0.975)).tolist()
    return Estimate.of(middle, interval=(low, high), n=n)


def move_to_reach(least_chance: float, chance: Array, sd: Array) -> Array:
    """Return the least predicted rise with which each chance reaches `least_chance`.

    A linear model predicts from a run's result how much each chance rises, possibly above 1. So a
    probit model decides which results suffice: in it, a chance is the probability that a normal
    variable is above 0, and this variable is correlated with the result.

    Args:
        least_chance: the chance to reach.
        chance: the chances before the run, shape (n,).
        sd: the standard deviations of the predicted rises over possible results, shape (n,).

    Returns:
        Shape (n,): if the predicted rise is less than this, the chance stays below `least_chance`.
    """
    sd = sd + 1e-12
    before = ndtri(np.clip(chance, 1e-3, 1 - 1e-3))
    # The probit model says chance = P(x > 0) with a normal x of variance 1. For a standardized
    # result z, `sd` is the covariance of z and (x > 0). It is cov(x, z) * (density of x at 0).
    correlation = np.minimum(sd * math.sqrt(2 * math.pi) * np.exp(before**2 / 2), 0.98)
    needed = ndtri(least_chance) * np.sqrt(1 - correlation**2) - before
    return np.asarray(needed * sd / correlation)


def _above(mean: Array, sd: float | Array) -> Array:
    """Return the probability that a normal variable with mean `mean` and SD `sd` is above 0.

    With the SD 0, a mean of 0 is not above 0.
    """
    is_certain = np.asarray(sd) <= 1e-9
    return np.where(is_certain, mean > 1e-6, ndtr(mean / np.maximum(sd, 1e-9)))


class Outlook:
    """Costs, final values and chances of all n configurations, from the same joint draws.

    All arrays have the shape (draws, n). `Aim.is_tuned` says which configuration is the baseline.

    Attributes:
        cost: log2 of the cost of a training that reaches the target.
        end: the final value minus that of the user's configuration, in margins; positive values are
            worse. The difference is limited to 27 margins (see `_WEIGHED`).
        reported_end: the same difference without the limit, for reports.
        misses: the probability that a training misses the target.
        mean_cost: log2 of the mean cost, if a training that misses the target runs to its end.
        worse: the probability that five more trainings end, on average, more than a margin worse
            than five of the baseline.
        slower: the probability that five more trainings cost more than five of the baseline.
        likely_tuned: the index of the configuration that most likely has the best rate at the
            user's batch size.
    """

    def __init__(
        self,
        surfaces: Sequence[Surface],
        aim: Aim,
        *,
        cost_sd: float,
        end_sd: Array,
        failed: Sequence[int],
        holds: Array,
    ) -> None:
        """Draw costs and final values from `surfaces`; derive all attributes from the draws.

        Args:
            surfaces: the belief about costs and final values, one for each row of `end_sd`.
            aim: what to optimize, and the baseline.
            cost_sd: the standard deviation over seeds of log2 of the cost to the target.
            end_sd: k equally likely standard deviations of the final values over seeds, in margins,
                shape (k, n).
            failed: indices of configurations with a failed training.
            holds: for each configuration, the probability that its next training does not fail.
        """
        self._aim, self._cost_sd, n = aim, cost_sd, len(aim.most_cost)
        noise = standard_noise(5 + 2 * n, N_DRAWS)
        # Random numbers to simulate the cost and final value of a further run (`_run_noise`), the
        # difference of two configurations' mean costs (`_luck`), and how many trainings of each of
        # the two miss the target (`_miss_noise`).
        self._run_noise, self._luck, self._miss_noise = noise[:, :2], noise[:, 2], noise[:, 3:5]
        draws = np.arange(len(noise))
        # Both draws of a pair of opposite sign use the same surface.
        surface_of = draws % (len(draws) // 2) % len(surfaces)
        self.cost, end = np.empty((2, len(draws), n))
        for k, surface in enumerate(surfaces):
            of = surface_of == k
            self.cost[of], end[of] = surface.draws(noise[of, 5:])
        if aim.known_cost is not None:
            self.cost[:] = aim.known_cost
        # Without a bound, a few extreme draws of a configuration would decide.
        self.end, self._end_sd = margins_of(end, most=_WEIGHED), end_sd[surface_of]
        self.reported_end = margins_of(end)
        self.misses, self._late = np.zeros_like(end), np.zeros_like(end)
        if aim.counts_misses and aim.known_cost is None:
            self.misses = ndtr((self.end - aim.level) / self._end_sd - STILL_MEETS)
            # How much more a training costs if it misses the target / the cost of reaching it.
            self._late = np.exp2(np.maximum(aim.most_cost - self.cost, 0)) - 1
        self.mean_cost = self.cost + np.log2(1 + self.misses * self._late)
        same = [i for i in aim.same_size if i not in failed] or list(aim.same_size)
        merit = self.mean_cost if aim.known_cost is None else self.end
        self._tuned = np.asarray(same)[np.argmin(merit[:, same], axis=1)]
        self.likely_tuned = int(np.bincount(self._tuned).argmax())
        self._beside = self._tuned if aim.is_tuned else np.full(len(draws), aim.own)
        beside = draws, self._beside
        # The mean of `_N_JUDGING` trainings varies by seed. Its standard deviation is `luck` times
        # that of one training.
        luck = math.sqrt(1 / _N_JUDGING)
        self._cost_luck = np.hypot(math.sqrt(2) * luck * cost_sd, aim.step_error)
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
        """Return the utility of each configuration in each draw (see `utility` for the unit)."""
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
        """Expected utility of each configuration, shape (n,).

        One unit is a factor of 2 in cost, or a margin of the final value if costs do not count.
        """
        return np.asarray(self._expected[: self.cost.shape[1]])

    @property
    def chance(self) -> Array:
        """Chance that each configuration is no worse than the baseline, shape (n,).

        No worse means: the next training does not fail, and trainings neither cost more nor end
        worse than those of the baseline.
        """
        return np.asarray(self._expected[self.cost.shape[1] :])

    def gain_draws(self, at: int, *, over_tuned: bool = False) -> Array:
        """Return draws of log2(baseline's cost / cost of configuration `at`).

        Each cost is the mean of five further trainings, as for `chance`. With `over_tuned`, the
        baseline is the user's batch size at its best rate.
        """
        other = self._tuned if over_tuned else self._beside
        both, mine = [], np.full_like(other, at)
        for places, luck in zip((other, mine), self._miss_noise.T, strict=True):
            one = np.arange(len(other)), places
            at_most = bdtr(np.arange(_N_JUDGING)[:, None], _N_JUDGING, self.misses[one])
            n_missed = np.sum(at_most < ndtr(luck), axis=0)
            both.append(self.cost[one] + np.log2(1 + n_missed / _N_JUDGING * self._late[one]))
        apart = both[0] - both[1] - self._cost_luck[at] * self._luck
        return np.where(other == at, 0.0, apart)

    def best(self, nameable: Sequence[int], least_chance: float) -> int:
        """Return the configuration with the highest expected utility that may be recommended.

        Any of `nameable` with a `chance` of at least `least_chance` may be recommended, and so may
        the configuration that `stays` returns.
        """
        is_likely = self.chance >= least_chance
        likely = {*nameable} & {*np.flatnonzero(is_likely).tolist()}
        return self.most_useful(likely | {self.stays(nameable)})

    def most_useful(self, some: Iterable[int]) -> int:
        """Return the configuration with the highest expected utility among `some`."""
        return int(max(some, key=lambda i: (self.utility[i], -i)))

    def stays(self, nameable: Sequence[int]) -> int:
        """Return the configuration to report if no change is recommended: the user's own.

        If `Aim.is_tuned`, return the most useful configuration of the user's batch size instead.
        """
        if not self._aim.is_tuned:
            return self._aim.own
        same = {*nameable} & {*self._aim.same_size}
        return self.most_useful(same or {self._aim.own})

    def gains(
        self, run: Run, nameable: Sequence[int], named: int, least_chance: float
    ) -> tuple[float, float]:
        """Return how much a run is expected to raise the utility of the recommendation.

        The first number allows only recommendations with a chance of at least `least_chance`, the
        second allows any. Utilities are modeled as linear in the result of the run.
        """
        n, at = self.cost.shape[1], run.at
        fewer = 1 / math.sqrt(run.n_seeds)
        shown = []
        if run.shows_cost:
            shown.append(self.cost[:, at] + fewer * self._cost_sd * self._run_noise[:, 0])
        if self._aim.ends_count:
            of_seeds = scatter_at(self.end[:, at], fewer * self._end_sd[:, at])
            sd = np.hypot(of_seeds, self._aim.end_error)
            shown.append(np.arcsinh(self.end[:, at]) + sd * self._run_noise[:, 1])
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
