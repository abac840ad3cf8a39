"""Group means: what one or two batch sizes say without a law."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from batchlab.errors import FitError
from batchlab.laws.lack_of_fit import LackOfFit
from batchlab.laws.open_observations import impute
from batchlab.laws.steps_table import NO_SCATTER, Array, StepsObservation, StepsTable
from batchlab.laws.steps_to_target import StepsToTargetFit
from batchlab.records.estimate import Estimate
from batchlab.records.reason import Reason


def fit_group_means(
    observations: Sequence[StepsObservation], *, n_resamples: int = 999, seed: int = 0
) -> StepsToTargetFit:
    """What one or two batch sizes say without a law: their means and the seeds' pooled scatter.

    Args:
        observations: at least one run that reached the target; batch sizes at which none did are
            left out.
        n_resamples: draws, >= 100.
        seed: of the draws.

    Returns:
        A fit without a law. It has no draws where no batch size was run twice.

    Raises:
        FitError: no run reached the target.
    """
    all_sizes = StepsTable.of(observations)
    never = set(all_sizes.batch_size[all_sizes.never_reached()].tolist())
    kept = tuple(seen for seen in observations if seen.batch_size not in never)
    if not kept:
        raise FitError(
            f"none of {len(observations)} runs reached the target; give more steps or an easier "
            f"target"
        )
    table = StepsTable.of(kept)
    generator = np.random.default_rng([seed, 2])
    log_steps, draws = _draw_means(table, n_draws=n_resamples, generator=generator)
    means = table.means(log_steps)
    reason = Reason.of("too_few_for_a_law", n=len(means))
    unknown = Estimate.cannot_tell(reason, n=table.n)
    return StepsToTargetFit(
        observations=kept,
        s_min=unknown,
        e_min=unknown,
        b_crit=unknown,
        exponent=unknown,
        lack_of_fit=LackOfFit.cannot_tell(reason),
        law_holds=False,
        residuals=table.residuals(means),
        seed_sd=table.seed_sd(log_steps),
        between_sd=None,
        batch_sizes=tuple(int(size) for size in table.batch_size),
        _log_means=means,
        _line=None,
        _draws=None,
        _mean_draws=draws,
        _seed=seed,
    )


def _draw_means(
    table: StepsTable, *, n_draws: int, generator: np.random.Generator
) -> tuple[Array, Array | None]:
    """Completed log steps, and draws of the batch sizes' means from their own runs alone."""
    start = table.started()
    if not table.degrees:
        return start, None
    log_steps = np.tile(start, (n_draws, 1))
    rounds = 12 if table.open.any() else 1
    for round_ in range(rounds):
        square, kappa = table.within(log_steps)
        sigma = np.sqrt((square + NO_SCATTER**2) / generator.chisquare(table.degrees, n_draws))
        noise = generator.standard_normal((n_draws, len(kappa)))
        means = table.means(log_steps) + np.sqrt(kappa) * sigma[:, None] * noise
        if round_ < rounds - 1:
            log_steps = impute(table, log_steps, means, sigma, generator)
    return log_steps.mean(axis=0) if table.open.any() else start, means
