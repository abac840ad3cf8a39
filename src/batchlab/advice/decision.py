"""Decision: which batch sizes are as good as the best, with a bound that holds for all at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from batchlab.advice.advice import Candidate, Laws, Objective, Option, Verdict
from batchlab.advice.carried_over import pooled_sd
from batchlab.advice.study_state import Size, StudyState
from batchlab.errors import FitError
from batchlab.laws.lines import fit_memory, fit_power_law
from batchlab.laws.step_time import StepTimeFit, fit_step_time
from batchlab.laws.steps import LackOfFit, StepsToTargetFit, fit_steps_to_target
from batchlab.laws.steps_curve import StepsObservation
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.trial import Target

Array = NDArray[np.float64]
_CONFIDENCE = 0.95
# By so much more marks put steps off by more than seeds do, on the log scale.
_COARSE = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What the costs say."""

    batch_sizes: tuple[int, ...]  # those compared, ascending
    # Each one's cost over the best one's, estimated (>= 1 but for the best: 1).
    relative: tuple[float, ...]
    low: tuple[float, ...]  # 95 % lower bound of that ratio, for each alone
    high: tuple[float, ...]  # simultaneous 95 % upper bound
    inside: tuple[bool, ...]  # whether `high` is at most 1 + delta
    verdict: Verdict  # "recommend", "indifferent" or "cannot_tell"
    batch_size: int | None  # the one to take; None where it cannot be told
    contender: int  # where it cannot be told: the batch size whose upper bound is the lowest
    blocking: int  # the batch size that the bound of `contender` is set by

    def left_open(self) -> Decision:
        """The same without a batch size to take."""
        return replace(self, verdict="cannot_tell", batch_size=None)

    def high_of(self, batch_size: int) -> float:
        """The upper bound of a batch size; infinite where it was not compared."""
        return dict(zip(self.batch_sizes, self.high, strict=True)).get(batch_size, math.inf)

    @property
    def flat_set(self) -> tuple[int, ...]:
        """The batch sizes inside, ascending. It may have holes: what failed is not among them."""
        found = zip(self.batch_sizes, self.inside, strict=True)
        return tuple(size for size, is_inside in found if is_inside)


def decide(
    batch_sizes: Sequence[int],
    log_costs: Array,
    draws: Array,
    *,
    delta: float,
    objective: Objective,
    may_recommend: Sequence[bool],
    all_compared: bool,
    peak_bytes: Sequence[int | None],
    bounds: Sequence[float] = (),
) -> Decision:
    """Compare the costs of batch sizes; smaller is better.

    The upper bound of a batch size's cost over the best is the largest of its bounds against each
    other one; the critical value against each is that at which the bounds of all batch sizes
    against it hold at once in 95 % of the draws. The bounds against the true best are among them.

    Args:
        batch_sizes: ascending, shape (k,).
        log_costs: estimated log costs, shape (k,).
        draws: log costs as they may truly be, given the runs, shape (n, k).
        delta: tolerance, a fraction > 0.
        objective: for "samples" the largest batch size inside is taken, else the best one.
        may_recommend: which of them were trained enough to be recommended, shape (k,).
        all_compared: whether these are all the batch sizes that fit, as "indifferent" needs.
        peak_bytes: memory of each, shape (k,); the least decides where it is all the same.
        bounds: of batch sizes that are not among them: the least that their log cost can be.

    Source: Hsu 1984, Annals of Statistics 12(3), multiple comparisons with the best; Dunnett 1955.
    """
    k = len(batch_sizes)
    upper, blockers = _upper_bounds(log_costs, draws)
    if bounds:
        open_yet = log_costs - min(bounds)
        blockers = [i if open_yet[i] > upper[i] else blockers[i] for i in range(k)]
        upper = np.maximum(upper, open_yet)
    relative = np.exp(log_costs - log_costs.min())
    spread = draws - draws.min(axis=1, keepdims=True)
    low = np.exp(np.quantile(spread, 1 - _CONFIDENCE, axis=0)) if k > 1 else np.ones(1)
    high = np.exp(upper)
    tolerance = np.log1p(delta)
    inside = [bool(bound <= tolerance) for bound in upper]
    eligible = [i for i in range(k) if inside[i] and may_recommend[i]]
    verdict: Verdict = "cannot_tell"
    chosen: int | None = None
    if eligible:
        verdict = "recommend"
        chosen = min(eligible, key=lambda i: (log_costs[i], batch_sizes[i]))
        if objective == "samples":
            chosen = max(eligible)
        elif all_compared and all(inside) and k > 1:
            verdict = "indifferent"
            chosen = min(eligible, key=lambda i: (peak_bytes[i] or math.inf, batch_sizes[i]))
    contender = int(np.argmin(upper))
    return Decision(
        batch_sizes=tuple(batch_sizes),
        relative=tuple(map(float, relative)),
        low=tuple(map(float, np.minimum(low, relative))),
        high=tuple(map(float, np.maximum(high, relative))),
        inside=tuple(inside),
        verdict=verdict,
        batch_size=None if chosen is None else batch_sizes[chosen],
        contender=batch_sizes[contender],
        blocking=batch_sizes[blockers[contender]],
    )


def _upper_bounds(log_costs: Array, draws: Array) -> tuple[Array, list[int]]:
    """For each batch size the simultaneous bound of its log ratio to the best, and who sets it."""
    k = len(log_costs)
    upper = np.zeros(k)
    blockers = list(range(k))
    for j in range(k):
        others = [i for i in range(k) if i != j]
        if not others:
            break
        error = (draws[:, others] - draws[:, [j]]) - (log_costs[others] - log_costs[j])
        # Upwards alone: draws that a bound cuts off from below are wide on the other side only, and
        # don't make anything else look worse.
        spread = np.sqrt(np.mean(np.maximum(error, 0.0) ** 2, axis=0))
        # Two batch sizes that the draws tie together exactly differ by what they differ by.
        scaled = np.divide(error, spread, out=np.zeros_like(error), where=spread > 0)
        # No bound lies below its estimate, even where few draws lie above it.
        critical = max(0.0, float(np.quantile(scaled.max(axis=1), _CONFIDENCE)))
        bound = log_costs[others] - log_costs[j] + critical * spread
        for i, value in zip(others, bound, strict=True):
            if value > upper[i] or (blockers[i] == i and value > 0):
                upper[i], blockers[i] = value, j
    return upper, blockers


def from_log_draws(middle: float, draws: Array, n: int) -> Estimate:
    """The exponential of an estimated logarithm, with the middle 95 % of its draws."""
    low, high = np.quantile(draws, (0.025, 0.975))
    return Estimate.of(math.exp(middle), interval=(math.exp(low), math.exp(high)), n=n)


def product(first: Estimate, second: Estimate) -> Estimate:
    """The product of two independent positive estimates; errors add as squares on a log scale."""
    if first.estimate is None or second.estimate is None:
        unknown = first if first.estimate is None else second
        return replace(unknown, low=None, high=None)  # a bound of one is none of both
    one, other = first.log_half_width, second.log_half_width
    half = None if one is None or other is None else math.hypot(one, other)
    return Estimate.of_log(math.log(first.estimate * second.estimate), half, n=first.n)


N_DRAWS = 999


@dataclass(frozen=True, kw_only=True, slots=True)
class Costs:
    """The figures that a decision is made on."""

    batch_sizes: tuple[int, ...]  # ascending, shape (k,)
    log_costs: Array  # estimates, shape (k,)
    draws: Array  # the log costs as they may truly be, given the runs, shape (n, k)
    # What learning alone costs: log steps to target (quality: log shortfall).
    log_learning_cost: Array
    learning_cost_draws: Array  # the same for it, shape (n, k)
    # The law of the steps to target; None: too few batch sizes, or objective quality.
    fit: StepsToTargetFit | None


def costs_of(state: StudyState) -> Costs | None:
    """Costs of every batch size that was valued, and of those that the law reaches.

    None where no batch size was valued.
    """
    fit = None if state.until is None else _fitted(state, state.until)
    if fit is not None:
        valued = fit.batch_sizes
        sizes = tuple(
            size.batch_size
            for size in state.that_run
            if (fit.law_holds or min(valued) <= size.batch_size <= max(valued))
            and size.ruled_out is None
        )
        if not sizes:
            return None
        cost, draws = fit.log_steps(sizes), fit.log_steps_draws(sizes)
        # Told at the same samples, all batch sizes are off alike.
        widths = [seen.log_width for seen in fit.observations if not seen.censored]
        off = math.sqrt(sum(width**2 for width in widths) / len(widths) / 12)
        if off > _COARSE:
            draws = draws + off * np.random.default_rng(2).standard_normal((len(draws), 1))
        least = np.array([_least_log_learning_cost(state, state.sizes[s]) for s in sizes])
        # Where the law itself lies below what misses leave, their bound is all that is known.
        possible = np.flatnonzero(cost >= least)
        sizes = tuple(sizes[place] for place in possible)
        cost, draws = cost[possible], np.maximum(draws, least)[:, possible]
    else:
        means = _means(state)
        if means is None:
            return None
        sizes, cost, draws = means
    weight = np.array([state.sizes[size].log_weight for size in sizes])
    noise = np.random.default_rng(1).standard_normal(draws.shape)
    spread = np.array([state.sizes[size].weight_sd for size in sizes])
    return Costs(
        batch_sizes=sizes,
        log_costs=cost + weight,
        draws=draws + weight + noise * spread,
        log_learning_cost=cost,
        learning_cost_draws=draws,
        fit=fit,
    )


def _least_log_learning_cost(state: StudyState, size: Size) -> float:
    """What those that missed the target leave for a batch size not run; -inf where it was run."""
    return -math.inf if size.learning_costs() else state.log_learning_cost_not_met(size)


def observations(state: StudyState, target: Target) -> list[StepsObservation]:
    """The valuation runs as observations for the law."""
    seen = []
    for size in state.tuned:
        for record in size.valuations.values():
            crossing = record.crossing(target)
            if crossing is None and (record.has_failed or not record.steps):
                continue  # a failure bounds no longer run; one never begun measures nothing
            if crossing is not None and not crossing.step:
                continue  # met untrained
            after = record.steps if crossing is None else crossing.least
            steps = None if crossing is None else crossing.step
            own = size.batch_size
            seen.append(StepsObservation(batch_size=own, after_steps=after, steps=steps))
    return seen


def _fitted(state: StudyState, target: Target) -> StepsToTargetFit | None:
    try:
        return fit_steps_to_target(observations(state, target), n_resamples=N_DRAWS)
    except FitError:
        return None


def _means(state: StudyState) -> tuple[tuple[int, ...], Array, Array] | None:
    """Means of the valued batch sizes, with draws from the pooled scatter of the seeds."""
    logs: dict[int, list[float]] = {}
    rounding = []
    for size in state.tuned:
        found = size.learning_costs()
        if found and size.ruled_out is None and size.cell is not None:
            logs[size.batch_size] = [math.log(cost) for cost in found]
            rounding.append(state.rounding_sd(size.cell, size.valuations))
    if not logs:
        return None
    sd, degrees = pooled_sd(logs.values())
    rng = np.random.default_rng(0)
    mean = np.array([sum(values) / len(values) for values in logs.values()])
    count = np.array([len(values) for values in logs.values()])
    # Student's t for all at once: one common draw of the variance, one normal for each mean.
    common = np.sqrt(degrees / rng.chisquare(degrees, size=(N_DRAWS, 1)))
    error = np.maximum(common * sd / np.sqrt(count), rounding)
    errors = error * rng.standard_normal((N_DRAWS, len(mean)))
    return tuple(logs), mean, mean + errors


_NOT_TRAINED = Reason.of("not_trained")


def learning_cost(state: StudyState, costs: Costs | None, size: Size) -> Estimate:
    """Steps to target (quality: shortfall) of a batch size from its valuations."""
    if costs is None or size.batch_size not in costs.batch_sizes:
        return Estimate.cannot_tell(_why_not_trained(state, size))
    i = costs.batch_sizes.index(size.batch_size)
    n = len(size.learning_costs())
    return from_log_draws(costs.log_learning_cost[i], costs.learning_cost_draws[:, i], n)


def candidate(
    state: StudyState, costs: Costs | None, decision: Decision | None, size: Size
) -> Candidate:
    """A batch size in question with what is known of it."""
    objective, option = state.question.objective, size.option
    cost, note = learning_cost(state, costs, size), option.note or size.ruled_out
    rate = None if size.cell is None else size.cell[1]
    if cost.estimate is None and (single := size.soonest_single) is not None:
        steps_seen, rate = single
        cost = Estimate.of(steps_seen, n=1)
        note = note or Reason.of("seen_in_single_run", rate=rate)
    steps = horizon(size) if objective == "quality" else cost
    time_s = product(steps, option.step_s)
    samples = steps.times(size.examples_per_step)
    relative, inside = _relative(state, decision, size)
    return Candidate(
        batch_size=size.batch_size,
        micro_batch_size=option.micro_batch_size,
        fits=option.runs,
        learning_rate=rate,
        n_runs=len(size.learning_costs()),
        step_s=option.step_s,
        steps_to_target=steps,
        time_to_target_s=time_s,
        samples_to_target=samples,
        cost={"time": time_s, "samples": samples, "quality": cost}[objective],
        relative=relative,
        in_flat_set=inside,
        peak_bytes=option.peak_bytes,
        rule_learning_rates=_rule_learning_rates(state, size),
        note=note,
    )


def horizon(size: Size) -> Estimate:
    """Objective quality: the steps that every run of the batch size is given."""
    if not size.option.runs:
        return Estimate.cannot_tell(size.option.note or _NOT_TRAINED)
    steps = size.horizon_steps
    return Estimate.of(steps, interval=(steps, steps), n=1)


def _relative(state: StudyState, decision: Decision | None, size: Size) -> tuple[Estimate, bool]:
    """The figure over the best one's, and whether it is in the flat set."""
    if decision is not None and size.batch_size in decision.batch_sizes:
        i = decision.batch_sizes.index(size.batch_size)
        high = decision.high[i] if math.isfinite(decision.high[i]) else None
        interval, n = (decision.low[i], high), len(size.learning_costs())
        return Estimate.of(decision.relative[i], interval=interval, n=n), decision.inside[i]
    if size.option.note is not None:
        return Estimate.cannot_tell(size.option.note), False
    reason = _why_not_trained(state, size)
    best_cost, bound = state.best_log_cost, state.optimistic_log_cost(size)
    if best_cost is None or bound is None or math.isinf(bound):
        return Estimate.cannot_tell(reason), False
    low = math.exp(bound - best_cost)
    why = Reason.of("bounded_by_others", why=reason)
    return Estimate(estimate=None, low=low if low > 1 else None, high=None, n=0, reason=why), False


def _why_not_trained(state: StudyState, size: Size) -> Reason:
    """Why it has no figure: ruled out, out of reach as a smaller one is, or never tried."""
    smaller = state.out_of_reach_as(size)
    if smaller is not None and size.ruled_out is None:
        return Reason.of("missed_by_smaller", size=smaller)
    return size.ruled_out or _NOT_TRAINED


def _rule_learning_rates(state: StudyState, size: Size) -> tuple[tuple[str, float], ...]:
    """What each scaling rule sets from the reference's tuned rate."""
    tuned = state.reference.cell
    if tuned is None:
        return ()
    factors = dict(state.question.rules).get(size.batch_size, ())
    return tuple((rule, factor * tuned[1]) for rule, factor in factors)


def laws_of(state: StudyState, costs: Costs) -> Laws | None:
    """The laws of steps, step time, memory and learning rate; None: nothing could be fitted."""
    fit = costs.fit
    if fit is None:
        return None
    whole = [o for s in state.that_run if (o := s.option).micro_batch_size == o.batch_size]
    memory = [(o.batch_size, o.peak_bytes) for o in whole if o.peak_bytes is not None]
    memory_fit = fit_memory(memory) if len(memory) >= 3 else None
    none = Estimate.cannot_tell(Reason.of("memory_at_fewer_than_three"))
    time_fit = _step_time(state, whole)
    untimed = Estimate.cannot_tell(Reason.of("timed_at_fewer_than_three"))
    return Laws(
        s_min=fit.s_min,
        e_min=fit.e_min,
        b_crit=fit.b_crit,
        exponent=fit.exponent,
        lack_of_fit=_p_value(fit.lack_of_fit, n=len(fit.observations)),
        learning_rate_exponent=_rate_exponent(state),
        fixed_bytes=none if memory_fit is None else memory_fit.fixed_bytes,
        bytes_per_example=none if memory_fit is None else memory_fit.bytes_per_example,
        step_overhead_s=untimed if time_fit is None else time_fit.overhead_s,
        step_s_per_example=untimed if time_fit is None else time_fit.s_per_example,
        knee_batch_size=untimed if time_fit is None else time_fit.knee_batch_size,
        step_curve=()
        if time_fit is None
        else tuple((size, time_fit.step_s(size)) for size in _places(time_fit.batch_sizes)),
        curve=_curve(fit, _places(costs.batch_sizes)),
        law_holds=fit.law_holds,
    )


def _step_time(state: StudyState, whole: Sequence[Option]) -> StepTimeFit | None:
    """The law of the step time, from batch sizes in one piece; None: fewer than 3."""
    timed = [(option.batch_size, option.timed_s or option.step_s) for option in whole]
    times = [(size, step_s) for size, step_s in timed if step_s.estimate is not None]
    # The full batch gathers nothing and so takes less: it is used where others tell too little.
    partial = [(size, time) for size, time in times if size < state.question.n_train]
    used = partial if len(partial) >= 3 else times
    return fit_step_time(used) if len(used) >= 3 else None


def _rate_exponent(state: StudyState) -> Estimate:
    points = [size.cell for size in state.that_met_the_target if size.cell is not None]
    if len(points) < 3:
        return Estimate.cannot_tell(Reason.of("rates_at_too_few", n=len(points)), n=len(points))
    return fit_power_law([float(size) for size, _ in points], [rate for _, rate in points]).exponent


def _curve(fit: StepsToTargetFit, sizes: Sequence[int]) -> tuple[tuple[int, Estimate], ...]:
    """The law with its band; where it does not hold, the interpolated measurements."""
    line, draws = fit.line(), fit.line_draws()
    if line is None or draws is None:
        return tuple((size, fit.steps(size)) for size in sizes)
    middle, spread = line.log_steps(sizes)[0], draws.log_steps(sizes)
    n = len(fit.observations)
    return tuple(
        (size, from_log_draws(float(middle[i]), spread[:, i], n)) for i, size in enumerate(sizes)
    )


def _p_value(test: LackOfFit, *, n: int) -> Estimate:
    if test.p_value is None:
        return Estimate.cannot_tell(test.reason or Reason.of("no_size_run_twice"), n=n)
    return Estimate.of(test.p_value, n=n)


def _places(batch_sizes: Sequence[int]) -> list[int]:
    """Batch sizes for a smooth curve: steps of a half octave."""
    n = round(2 * math.log2(max(batch_sizes) / min(batch_sizes))) + 1
    return sorted({round(size) for size in np.geomspace(min(batch_sizes), max(batch_sizes), n)})
