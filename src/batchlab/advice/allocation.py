"""Which batch sizes are worth tuning, and where the rest of the budget is worth most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from batchlab.advice.decision import Array, Costs, Decision, costs_of, decide
from batchlab.advice.run_log import why_it_failed
from batchlab.advice.study_state import Size, StudyState
from batchlab.advice.tuning import confirm, rate_in_doubt, run_valuations, tune
from batchlab.advice.whole_trainings import reserve
from batchlab.records.estimate import Reason

_STRIDE = 4.0
# A neighbour this much worse than the best ends the search on its side: beyond it lies worse.
_MUCH_WORSE = 1.3
# Towards smaller batches fewer examples may still be needed, in ever smaller shares: the search
# ends where a factor of four in batch size gains less than this.
_WORTH_GOING_ON = 1.03
# A run of a new batch size is cut where its cost would be this much worse than the best.
_CUT_AT = 1.6
_CONTENDER = 1.5
_RUNS_A_VISIT = 5
_UNLIKELY = 0.025


def explore(state: StudyState) -> None:
    """Tune the neighbours of the reference batch size outwards as long as they can be better."""
    # Larger batches first: their runs are the cheaper ones to watch, and with three batch sizes the
    # law says whether smaller ones are worth a visit.
    for sign, why in _SIDES:
        before = state.reference.log_cost
        for size in _anchors(state, sign):
            if not _can_win(state, size):
                break
            if not visit(state, size, why=why):
                # The budget does not reach for the side that promises more: it is kept for what
                # comes after.
                return
            if state.end is not None:  # another best asks for other whole trainings
                reserve(state, exploring=True)
            cost, best_cost = size.log_cost, state.best_log_cost
            if cost is None or best_cost is None or cost > best_cost + math.log(_MUCH_WORSE):
                break
            if before is not None and sign < 0 and state.question.objective != "time":
                if before - cost < math.log(_WORTH_GOING_ON):
                    break
            before = cost


_SIDES = (+1, Reason.of("larger_may_be_better")), (-1, Reason.of("smaller_may_be_better"))
# Of the batch sizes nearest to the best so many are seen, where the budget has the runs for it.
_SIZES_SEEN = 6
# Of what is left they take no more.
_LOOKS_SHARE = 0.7


def look(state: StudyState) -> None:
    """Train the batch sizes beside the best once.

    Each at the rate that follows from the others', on the seed that chose those. What is sooner
    there than the best was is tuned.
    """
    best = state.best
    if best is None or best.search is None or best.search.learning_cost is None:
        return
    leads = math.log(best.search.learning_cost) + best.log_weight
    looked = _looked_at(state, Reason.of("look_at_sizes_why", best=best.batch_size))
    for cost, size in sorted((cost, size.batch_size) for size, cost in looked.items()):
        if cost < leads:
            sooner = Reason.of("sooner_in_one_run", best=best.batch_size)
            visit(state, state.sizes[size], why=sooner)


def look_at_the_rest(state: StudyState) -> None:
    """After the answer: one training of each, to its end, and once what there was no time for."""
    state.reserved_s = 0.0
    if state.end is not None:
        _follow_to_the_end(state)
    _looked_at(state, Reason.of("look_at_the_rest_why"))


def _follow_to_the_end(state: StudyState) -> None:
    """One run of each tuned batch size goes on to its end, the first on a seed that values."""
    requests = []
    for size in state.that_met_the_target:
        assert size.cell is not None
        seeds = [seed for *cell, seed in state.asked_whole if tuple(cell) == size.cell]
        if size.valuations and not any(seed in size.valuations for seed in seeds):
            seed = min(size.valuations)  # not the slowest, which would be nearest to its end
            requests.append(state.request(size.cell, seed, steps=size.whole_steps, whole=True))
    while requests and state.expected_s(requests) > _LOOKS_SHARE * state.left_s():
        requests.remove(max(requests, key=lambda each: state.expected_s([each])))
    if requests:
        sizes = ", ".join(str(request.trial.batch_size) for request in requests)
        why = Reason.of("follow_to_the_end_why")
        state.note(Reason.of("follow_to_the_end", sizes=sizes), why)
        state.run(requests, "value")


def _looked_at(state: StudyState, why: Reason) -> dict[Size, float]:
    """Log costs of one run of those nearest to the best, as far as the budget has them."""
    best, seed, lattice = state.best, state.seeds.tune[0], state.lattice
    if state.until is None or best is None:
        return {}
    seen = {batch_size for batch_size, _, _ in state.records}
    untried = [size for size in state.that_run if size.batch_size not in seen]
    apart = {size: abs(math.log2(size.batch_size / best.batch_size)) for size in untried}
    nearest = sorted(untried, key=lambda size: (apart[size], -size.batch_size))
    looked = nearest[: max(0, _SIZES_SEEN - len(seen))]
    octaves = [lattice.nearest(size.batch_size, state.rate_start(size)) for size in looked]
    requests = [
        state.request(lattice.cell((size.batch_size, at)), seed, steps=cut_steps(state, size))
        for size, at in zip(looked, octaves, strict=True)
    ]
    while requests and state.expected_s(requests) > _LOOKS_SHARE * state.left_s():
        requests.pop()
    if not requests:
        return {}
    looked = looked[: len(requests)]
    sizes = ", ".join(str(size.batch_size) for size in looked)
    state.note(Reason.of("look_at_sizes", sizes=sizes), why)
    costs = map(state.learning_cost, state.run(requests, "tune"))
    return {
        size: math.inf if cost is None else math.log(cost) + size.log_weight
        for size, cost in zip(looked, costs, strict=True)
    }


def visit(state: StudyState, size: Size, *, why: Reason) -> bool:
    """Tune a batch size and value it once, twice where it is among the best.

    Whether it was tuned; False: the budget did not reach for it, or there is nothing any more
    that it could be compared with.
    """
    if state.until is not None and state.best is None:
        return False
    limit = cut_steps(state, size)
    if not _pays(state, size, limit):
        return False
    state.note(
        Reason.of("tune_size", size=size.batch_size),
        Reason.of(
            "tune_size_why",
            why=why,
            octaves=state.rate_start(size),
            limit=min(limit, size.longest_steps),
        ),
    )
    tuned = tune(state, size, limit_steps=limit)
    runs = tuned.records
    if not runs:
        size.search = None
        return False
    if tuned.learning_rate is None:
        # Not `limit`: a run may end before it, at the epochs allowed or with the budget.
        size.missed_at = min((run.steps for run in runs if not run.has_failed), default=None)
        if size.missed_at is None:
            why_none = Reason.of("all_rates_failed", n=len(runs), why=why_it_failed(runs[0]))
        else:
            why_none = Reason.of("no_rate_met_target", steps=size.missed_at)
        size.ruled_out = why_none
        state.note(Reason.of("size_is_out", size=size.batch_size), why_none)
        return True
    cost, best_cost = size.log_cost, state.best_log_cost
    assert cost is not None
    assert best_cost is not None
    run_valuations(state, size, 2 if cost <= best_cost + math.log(_CONTENDER) else 1)
    return True


def cut_steps(state: StudyState, size: Size) -> int:
    """At how many steps a run of this batch size cannot win any more; some other one has met it."""
    if state.until is None:
        return size.horizon_steps
    best = state.best
    assert best is not None
    best_cost, steps = best.log_cost, best.log_learning_cost
    assert best_cost is not None
    assert steps is not None
    # Nor can a batch of B need more steps than the best at a smaller batch does, or more examples,
    # unless the runs say otherwise.
    most = state.carried_over().most_steps(math.exp(steps), best.batch_size, size.batch_size)
    no_better = math.exp(best_cost - size.log_weight)
    return max(1, math.ceil(_CUT_AT * min(no_better, most)))


def _pays(state: StudyState, size: Size, limit: int) -> bool:
    """Whether a search and its valuation fit into what is left: three rates and two seeds."""
    usual = limit if state.until is None else _usual_steps(state, size, limit)
    at_a_time = min(state.engine.n_workers, _RUNS_A_VISIT)
    return _RUNS_A_VISIT * size.run_s(usual) / at_a_time <= state.left_s()


def _usual_steps(state: StudyState, size: Size, limit: int) -> int:
    """Half way, on a log scale, from what it needs at least to what makes it no better."""
    no_better = limit / _CUT_AT
    bound = state.optimistic_log_cost(size)
    if bound is None or math.isinf(bound):
        return math.ceil(no_better)
    least = min(no_better, math.exp(bound - size.log_weight))
    return math.ceil(math.sqrt(least * no_better))


def _anchors(state: StudyState, sign: int) -> list[Size]:
    """The batch sizes at factors of about four from the reference, the last one the outermost."""
    own = state.question.reference.batch_size
    sizes = [size for size in state.that_run if (size.batch_size - own) * sign > 0][::sign]
    anchors: list[Size] = []
    here: float = own
    for size in sizes:
        far = max(size.batch_size / here, here / size.batch_size)
        if far >= _STRIDE * 0.75 or size is sizes[-1]:
            anchors.append(size)
            here = size.batch_size
    return anchors


def _can_win(state: StudyState, size: Size) -> bool:
    bound, best_cost = state.optimistic_log_cost(size), state.best_log_cost
    if bound is None or best_cost is None:
        return True
    tolerance = math.log1p(state.question.delta)
    return bound <= best_cost + tolerance and not _law_rules_out(state, size, tolerance)


def _law_rules_out(state: StudyState, size: Size, tolerance: float) -> bool:
    """Whether the law, as far as it is known, leaves the batch size no more than 1 in 40."""
    costs = costs_of(state)
    if costs is None or costs.fit is None or size.batch_size not in costs.batch_sizes:
        return False
    above = costs.draws - costs.draws.min(axis=1, keepdims=True)
    place = costs.batch_sizes.index(size.batch_size)
    return bool(np.quantile(above[:, place], _UNLIKELY) > tolerance)


_FEWEST_VALUES = 2
_ENOUGH_VALUES = 6
# What must be left of the budget for a look at the neighbours of a clear recommendation.
_LOOK_BESIDE_WITH = 1 / 3
# So many of the figures that are possible are tried, and in such a share of them a study goes on.
_POSSIBLE = 20
_WORTH_RUNS = 0.2
# Batch sizes that are this much worse are not listed beside the best by --explain.
_NEAR = 1.25


def decision_of(state: StudyState, costs: Costs, *, run_enough: bool = False) -> Decision:
    """The decision that the costs so far support."""
    sizes = [state.sizes[size] for size in costs.batch_sizes]
    return decide(
        costs.batch_sizes,
        costs.log_costs,
        costs.draws,
        delta=state.question.delta,
        objective=state.question.objective,
        may_recommend=[run_enough or len(s.learning_costs()) >= _FEWEST_VALUES for s in sizes],
        all_compared=len(sizes) == len(state.that_run),
        bounds=() if run_enough else _bounds_of_others(state, costs),
        peak_bytes=[size.option.peak_bytes for size in sizes],
    )


def _bounds_of_others(state: StudyState, costs: Costs) -> list[float]:
    """The least that the costs can be of batch sizes that have none."""
    sizes = _in_question(state)
    others = [size for size in sizes if size.batch_size not in costs.batch_sizes]
    if state.question.objective == "quality":
        # Nothing bounds them, but next to the best one nothing may be left untried.
        best = costs.batch_sizes[int(costs.log_costs.argmin())]
        return [-math.inf for size in others if size in _next_to(best, sizes)]
    bounds = [state.optimistic_log_cost(size) for size in others]
    return [bound for bound in bounds if bound is not None]


def _in_question(state: StudyState) -> list[Size]:
    """The batch sizes that ran and were not ruled out, ascending."""
    return [size for size in state.that_run if size.ruled_out is None]


def _next_to(best: int, sizes: Sequence[Size]) -> list[Size]:
    """The neighbours of a batch size among ascending `sizes`."""
    place = [size.batch_size for size in sizes].index(best)
    return [size for size in sizes[max(0, place - 1) : place + 2] if size.batch_size != best]


def allocate(
    state: StudyState, *, for_more_seeds: bool = True, keeps_nothing: bool = False
) -> Decision | None:
    """Add runs until the decision is clear or the budget has no more for them.

    The last decision; None where no batch size met the target.
    """
    while True:
        if keeps_nothing:
            state.reserved_s = 0.0
        elif state.end is not None:  # another best asks for other whole trainings
            reserve(state, for_more_seeds=for_more_seeds)
        costs = costs_of(state)
        if costs is None:
            return None
        decision = decision_of(state, costs)
        if _is_clear(state, costs, decision):
            assert decision.batch_size is not None
            size = state.sizes[decision.batch_size]
            # The recommendation is only as good as its rate, and one seed's choice is not enough.
            if size.search and len(size.search.seeds) == 1 and confirm(state, size):
                run_valuations(state, size, _FEWEST_VALUES)
                continue
            if _look_beside(state, decision):
                continue
            state.note(
                Reason.of("decision_is_clear", verdict=decision.verdict, size=decision.batch_size),
                _bounds_of(decision),
            )
            return decision
        if not runs_may_tell(state, costs, decision):
            state.note(
                Reason.of("no_more_runs"),
                Reason.of(
                    "step_times_keep_open",
                    size=decision.contender,
                    other=decision.blocking,
                    bounds=_bounds_of(decision),
                ),
            )
            return decision
        n_before = len(state.records)
        if not _next_runs(state, decision):
            if len(state.records) > n_before:
                continue  # what was run changed a rate, though it did not bring what it was for
            state.note(Reason.of("no_more_runs"), Reason.of("nothing_left_for_runs"))
            return decision


def runs_may_tell(state: StudyState, costs: Costs, decision: Decision) -> bool:
    """Whether more runs may settle an open decision: would it be clear without their errors?

    What they would find is not known yet, so some of the figures that are possible by now are
    taken for exact ones; if hardly any of them makes it clear, the step times keep it open. Not
    asked before both sides have runs enough.
    """
    rivals = {decision.contender, decision.blocking}
    few = any(len(state.sizes[s].learning_costs()) < _ENOUGH_VALUES for s in rivals)
    # With a single one it is a batch size without a cost that leaves it open.
    if few or len(rivals) == 1 or decision.verdict != "cannot_tell":
        return True
    errors, weight = _step_time_errors(costs), costs.log_costs - costs.log_learning_cost

    def is_clear(log_learning_cost: Array) -> bool:
        known = log_learning_cost + weight
        exact = replace(costs, log_costs=known, draws=known + errors)
        return decision_of(state, exact, run_enough=True).verdict != "cannot_tell"

    if is_clear(costs.log_learning_cost):
        return True
    possible = costs.learning_cost_draws[:: len(costs.learning_cost_draws) // _POSSIBLE]
    return sum(map(is_clear, possible)) >= _WORTH_RUNS * len(possible)


def _look_beside(state: StudyState, decision: Decision) -> bool:
    """Tune a neighbour of the recommendation that only bounds rule out; False: there is none.

    Bounds tell that it cannot be better, not how much worse it is, and two batch sizes make no law.
    """
    if decision.verdict != "recommend" or decision.batch_size is None:
        return False
    # They may open the decision again, and then it takes runs and seeds to close it.
    seeds_left = len(state.seeds.value) - len(state.sizes[decision.batch_size].valuations)
    left_s = state.left_s()
    if left_s < _LOOK_BESIDE_WITH * state.question.budget_s or seeds_left < _ENOUGH_VALUES:
        return False
    return any(
        visit(state, size, why=Reason.of("beside_a_clear_size", size=decision.batch_size))
        for size in reversed(_next_to(decision.batch_size, state.that_run))
        if size.search is None and size.batch_size not in decision.batch_sizes
    )


def _is_clear(state: StudyState, costs: Costs, decision: Decision) -> bool:
    if decision.verdict in ("cannot_tell", "indifferent"):
        return decision.verdict == "indifferent"
    if _may_not_matter(state, decision) and _could_be_shown_alike(state, costs):
        return False
    return _next_larger(state, decision) is None


def _could_be_shown_alike(state: StudyState, costs: Costs) -> bool:
    """Whether batch sizes that are all the same could be told to be, by step times this uncertain.

    If not, no runs bring it, however many.
    """
    errors = _step_time_errors(costs)
    alike = replace(costs, log_costs=np.zeros(errors.shape[1]), draws=errors)
    return decision_of(state, alike, run_enough=True).verdict == "indifferent"


def _step_time_errors(costs: Costs) -> Array:
    """The part of the costs' errors that is not the runs'."""
    return costs.draws - costs.log_costs - (costs.learning_cost_draws - costs.log_learning_cost)


def _next_larger(state: StudyState, decision: Decision) -> Size | None:
    """Objective samples: the next larger batch size, where it may be within delta as well."""
    if state.question.objective != "samples" or decision.batch_size is None:
        return None
    for batch_size, low in zip(decision.batch_sizes, decision.low, strict=True):
        if batch_size > decision.batch_size:
            size, open_yet = state.sizes[batch_size], low <= 1 + state.question.delta
            return size if open_yet and len(size.valuations) < _ENOUGH_VALUES else None
    return None


def _may_not_matter(state: StudyState, decision: Decision) -> bool:
    """Whether no batch size is for sure worse than delta: then more runs tell if all are alike."""
    tolerance = 1 + state.question.delta
    all_there = len(decision.batch_sizes) == len(state.that_run)
    return all_there and all(low <= tolerance for low in decision.low)


def _next_runs(state: StudyState, decision: Decision) -> bool:
    """Do the runs that promise to tell most; False: none can be paid for."""
    # To be shown alike, batch sizes must be at their best: a rate slightly off looks like a worse
    # batch size. One that is the better by far needs no such care.
    alike = _may_not_matter(state, decision) or _next_larger(state, decision) is not None
    for size, why in _wanted(state, decision):
        if size.cell is None:
            if size.search is None and visit(state, size, why=why):
                return True
            continue
        assert size.search is not None
        # Choosing the rate and valuing it take turns: neither pays without the other.
        rounds, before = len(size.search.seeds), len(size.valuations)
        is_its_turn = before >= _FEWEST_VALUES * rounds
        if is_its_turn and (alike or rate_in_doubt(state, size)) and confirm(state, size):
            run_valuations(state, size, _FEWEST_VALUES)
            return True
        run_valuations(state, size, len(size.valuations) + state.engine.n_workers, why=why)
        if len(size.valuations) > before:
            return True
    return False


def _wanted(state: StudyState, decision: Decision) -> list[tuple[Size, Reason]]:
    """Batch sizes to spend runs on, the most telling first."""
    sizes = [state.sizes[size] for size in decision.batch_sizes]
    best = state.sizes[_best_of(decision)]
    wanted: list[tuple[Size, Reason]] = []

    def runs(size: Size) -> int:
        return len(size.learning_costs())

    if runs(best) < _FEWEST_VALUES:
        wanted.append((best, Reason.of("best_with_too_few_runs")))
    wanted += [(size, Reason.of("not_ruled_out")) for size in _unbounded(state, decision)]
    if len(sizes) == 1:
        return wanted  # what bounds the others follows from this one's own figure
    # A bound is that of a ratio: the side with fewer runs gains most from one more.
    larger = _next_larger(state, decision)
    if larger is not None:
        why = Reason.of("largest_is_asked_for")
        wanted += [(size, why) for size in sorted((larger, best), key=runs)]
    elif decision.verdict != "cannot_tell" or _may_not_matter(state, decision):
        high, widest = max(zip(decision.high, decision.batch_sizes, strict=True))
        why = Reason.of("all_may_be_the_same", size=widest, high=high)
        wanted += [(size, why) for size in sorted((state.sizes[widest], best), key=runs)]
    rivals = sorted((state.sizes[decision.contender], state.sizes[decision.blocking]), key=runs)
    why = Reason.of(
        "keeps_decision_open",
        size=decision.contender,
        other=decision.blocking,
        bounds=_bounds_of(decision),
    )
    wanted += [(size, why) for size in rivals]
    # Then whatever may still be the best, the least known first.
    tolerance = 1 + state.question.delta
    found = zip(sizes, decision.low, decision.high, strict=True)
    open_sizes = [size for size, low, high in found if low <= tolerance < high]
    wanted += [(size, Reason.of("may_be_as_good")) for size in sorted(open_sizes, key=runs)]
    return list(dict.fromkeys(wanted))


def _unbounded(state: StudyState, decision: Decision) -> list[Size]:
    """Batch sizes without a cost that may yet be more than delta better, most promising first."""
    sizes = _in_question(state)
    untried = [s for s in sizes if s.batch_size not in decision.batch_sizes and s.search is None]
    if state.question.objective == "quality":
        return [size for size in untried if size in _next_to(_best_of(decision), sizes)]
    best_cost = state.best_log_cost
    if best_cost is None:
        return []
    limit = best_cost - math.log1p(state.question.delta)
    bounds = [(state.optimistic_log_cost(size), size.batch_size) for size in untried]
    promising = sorted((bound, size) for bound, size in bounds if bound is not None)
    return [state.sizes[size] for bound, size in promising if bound < limit]


def _best_of(decision: Decision) -> int:
    """The batch size with the best estimate."""
    return min(zip(decision.relative, decision.batch_sizes, strict=True))[1]


def _bounds_of(decision: Decision) -> Reason:
    """The bounds of those that matter."""
    near = [
        Reason.of("no_bound_yet", size=size)
        if math.isinf(high)
        else Reason.of("at_most_times", size=size, high=high)
        for size, relative, high in zip(
            decision.batch_sizes, decision.relative, decision.high, strict=True
        )
        if relative <= _NEAR or size == decision.contender
    ]
    return Reason.of("near_the_best", sizes=near)
