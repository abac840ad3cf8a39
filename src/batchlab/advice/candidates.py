"""Candidates: every batch size in question, with its figures and how far it is from the best."""

from __future__ import annotations

import math

from batchlab.advice.combined_estimates import from_log_draws, product, scaled
from batchlab.advice.costs import Costs
from batchlab.advice.decision import Decision
from batchlab.advice.parts import Candidate
from batchlab.advice.question import Option
from batchlab.advice.study_state import StudyState
from batchlab.records.estimate import Estimate
from batchlab.records.reason import Reason

_NOT_TRAINED = Reason.of("not_trained")


def candidates(
    state: StudyState, costs: Costs | None, decision: Decision | None
) -> tuple[Candidate, ...]:
    """One candidate for each batch size in question, ascending.

    Args:
        state: the runs.
        costs: the figures that they support; None: no batch size was valued.
        decision: what was decided on them; None: nothing.
    """
    return tuple(_candidate(state, costs, decision, option) for option in state.question.options)


def learning_cost(state: StudyState, costs: Costs | None, batch_size: int) -> Estimate:
    """Steps to target (quality: shortfall) of a batch size from its valuation runs.

    Args:
        state: the runs.
        costs: the figures that they support; None: no batch size was valued.
        batch_size: one of those in question.
    """
    if costs is None or batch_size not in costs.batch_sizes:
        return Estimate.cannot_tell(_why_not_trained(state, batch_size))
    i = costs.batch_sizes.index(batch_size)
    n = len(state.learning_costs(batch_size))
    return from_log_draws(costs.log_learning_cost[i], costs.learning_cost_draws[:, i], n)


def _candidate(
    state: StudyState, costs: Costs | None, decision: Decision | None, option: Option
) -> Candidate:
    size, objective = option.batch_size, state.question.objective
    cell = state.cell(size)
    cost = learning_cost(state, costs, size)
    steps = _horizon(state, option) if objective == "quality" else cost
    time_s = product(steps, option.step_s)
    samples = scaled(steps, state.run_log.examples_per_step(size))
    relative, inside = _relative(state, decision, option)
    return Candidate(
        batch_size=size,
        micro_batch_size=option.micro_batch_size,
        fits=option.runs,
        learning_rate=None if cell is None else cell[1],
        n_runs=len(state.learning_costs(size)),
        step_s=option.step_s,
        steps_to_target=steps,
        time_to_target_s=time_s,
        samples_to_target=samples,
        cost={"time": time_s, "samples": samples, "quality": cost}[objective],
        relative=relative,
        in_flat_set=inside,
        peak_bytes=option.peak_bytes,
        rule_learning_rates=_rule_learning_rates(state, size),
        note=option.note or state.ruled_out.get(size),
    )


def _horizon(state: StudyState, option: Option) -> Estimate:
    """Objective quality: the steps that every run of the batch size is given."""
    if not option.runs:
        return Estimate.cannot_tell(option.note or _NOT_TRAINED)
    steps = state.horizon_steps(option.batch_size)
    return Estimate.of(steps, interval=(steps, steps), n=1)


def _relative(
    state: StudyState, decision: Decision | None, option: Option
) -> tuple[Estimate, bool]:
    """The figure over the best one's, and whether it is in the flat set."""
    size = option.batch_size
    if decision is not None and size in decision.batch_sizes:
        i = decision.batch_sizes.index(size)
        high = decision.high[i]
        estimate = Estimate.of(
            decision.relative[i],
            interval=(decision.low[i], high if math.isfinite(high) else None),
            n=len(state.learning_costs(size)),
        )
        return estimate, decision.inside[i]
    if option.note is not None:
        return Estimate.cannot_tell(option.note), False
    reason = _why_not_trained(state, size)
    best_cost = state.best_log_cost()
    bound = state.optimistic_log_cost(size)
    if best_cost is None or bound is None or math.isinf(bound):
        return Estimate.cannot_tell(reason), False
    low = math.exp(bound - best_cost)
    return Estimate(
        estimate=None,
        low=low if low > 1 else None,
        high=None,
        n=0,
        reason=Reason.of("bounded_by_others", why=reason),
    ), False


def _why_not_trained(state: StudyState, batch_size: int) -> Reason:
    """Why it has no figure: ruled out, out of reach as a smaller one is, or never tried."""
    smaller = state.out_of_reach_as(batch_size)
    if smaller is not None and batch_size not in state.ruled_out:
        return Reason.of("missed_by_smaller", size=smaller)
    return state.ruled_out.get(batch_size, _NOT_TRAINED)


def _rule_learning_rates(state: StudyState, batch_size: int) -> tuple[tuple[str, float], ...]:
    """What each scaling rule sets from the reference's tuned rate."""
    tuned = state.cell(state.question.reference.batch_size)
    if tuned is None:
        return ()
    factors = dict(state.question.rules).get(batch_size, ())
    return tuple((rule, factor * tuned[1]) for rule, factor in factors)
