"""Costs: the objective's figure of each batch size with joint draws of its error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from batchlab.advice.combined_estimates import log_half_width
from batchlab.advice.scatter import pooled_sd
from batchlab.advice.study_state import StudyState
from batchlab.errors import FitError
from batchlab.laws.steps_to_target import (
    StepsObservation,
    StepsToTargetFit,
    fit_steps_to_target,
)
from batchlab.records.target import Target

Array = NDArray[np.float64]
N_DRAWS = 999
_Z = 1.959964


@dataclass(frozen=True, kw_only=True, slots=True)
class Costs:
    """The figures that a decision is made on.

    Attributes:
        batch_sizes: ascending, shape (k,).
        log_costs: estimates, shape (k,).
        draws: the log costs as they may truly be, given the runs, shape (n, k).
        log_learning_cost: what learning alone costs: log steps to target (quality: log shortfall).
        learning_cost_draws: the same for it, shape (n, k).
        fit: the law of the steps to target; None: too few batch sizes, or objective quality.
    """

    batch_sizes: tuple[int, ...]
    log_costs: Array
    draws: Array
    log_learning_cost: Array
    learning_cost_draws: Array
    fit: StepsToTargetFit | None


def costs_of(state: StudyState, *, target: Target | None = None) -> Costs | None:
    """Costs of every batch size that was valued, and of those that the law reaches.

    Args:
        state: the runs.
        target: read the runs against this one instead of the study's own.

    Returns:
        None where no batch size was valued.
    """
    target = target or state.run_log.until
    fit = None if target is None else _fitted(state, target)
    if fit is not None:
        valued = fit.batch_sizes
        sizes = tuple(
            option.batch_size
            for option in state.options()
            if (fit.law_holds or min(valued) <= option.batch_size <= max(valued))
            and option.batch_size not in state.ruled_out
        )
        if not sizes:
            return None
        cost, draws = fit.log_steps(sizes), fit.log_steps_draws(sizes)
        if target == state.run_log.until:
            least = np.array([_least_log_learning_cost(state, size) for size in sizes])
            # Where the law itself lies below what misses leave, their bound is all that is known.
            possible = np.flatnonzero(cost >= least)
            sizes = tuple(sizes[place] for place in possible)
            cost, draws = cost[possible], np.maximum(draws, least)[:, possible]
    else:
        means = _means(state, target)
        if means is None:
            return None
        sizes, cost, draws = means
    weight = np.array([state.log_weight(size) for size in sizes])
    noise = np.random.default_rng(1).standard_normal(draws.shape)
    spread = np.array([weight_sd(state, size) for size in sizes])
    return Costs(
        batch_sizes=sizes,
        log_costs=cost + weight,
        draws=draws + weight + noise * spread,
        log_learning_cost=cost,
        learning_cost_draws=draws,
        fit=fit,
    )


def _least_log_learning_cost(state: StudyState, batch_size: int) -> float:
    """What those that missed the target leave for a batch size not run; -inf where it was run."""
    return (
        -math.inf
        if state.learning_costs(batch_size)
        else state.log_learning_cost_not_met(batch_size)
    )


def observations(state: StudyState, target: Target) -> list[StepsObservation]:
    """The valuation runs as observations for the law."""
    seen = []
    for size in sorted(state.tuned):
        for record in state.valuation_runs(size).values():
            crossing = record.crossing(target)
            if crossing is None and (record.has_failed or not record.steps):
                continue  # a failure bounds no longer run; one never begun measures nothing
            if crossing is not None and not crossing.step:
                continue  # met untrained, at an easier target
            seen.append(
                StepsObservation(
                    batch_size=size,
                    after_steps=record.steps if crossing is None else crossing.after_step,
                    steps=None if crossing is None else crossing.step,
                )
            )
    return seen


def _fitted(state: StudyState, target: Target) -> StepsToTargetFit | None:
    try:
        return fit_steps_to_target(observations(state, target), n_resamples=N_DRAWS)
    except FitError:
        return None


def _means(state: StudyState, target: Target | None) -> tuple[tuple[int, ...], Array, Array] | None:
    """Means of the valued batch sizes, with draws from the pooled scatter of the seeds."""
    logs: dict[int, list[float]] = {}
    for size in sorted(state.tuned):
        found = state.learning_costs(size, target=target)
        if found and size not in state.ruled_out:
            logs[size] = [math.log(cost) for cost in found]
    if not logs:
        return None
    sd, degrees = pooled_sd(logs.values())
    rng = np.random.default_rng(0)
    mean = np.array([sum(values) / len(values) for values in logs.values()])
    count = np.array([len(values) for values in logs.values()])
    # Student's t for all at once: one common draw of the variance, one normal for each mean.
    common = np.sqrt(degrees / rng.chisquare(degrees, size=(N_DRAWS, 1)))
    errors = common * sd * rng.standard_normal((N_DRAWS, len(mean))) / np.sqrt(count)
    return tuple(logs), mean, mean + errors


def weight_sd(state: StudyState, batch_size: int) -> float:
    """How uncertain the log of what the steps are multiplied with is: that of the step time."""
    if state.question.objective != "time":
        return 0.0
    return (log_half_width(state.question.option(batch_size).step_s) or 0.0) / _Z
