"""Climb: which batch sizes are worth tuning, from the reference outwards in factors of four."""

from __future__ import annotations

import math

import numpy as np

from batchlab.advice.costs import costs_of
from batchlab.advice.run_log import why_it_failed
from batchlab.advice.study_state import StudyState
from batchlab.advice.verification_runs import reserve
from batchlab.records.reason import Reason

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
    """Tune the reference batch size, then its neighbours outwards as long as they can be better."""
    reference = state.question.reference.batch_size
    sides = {"larger": _anchors(state, +1), "smaller": _anchors(state, -1)}
    # Larger batches first: their runs are the cheaper ones to watch, and with three batch sizes the
    # law says whether smaller ones are worth a visit.
    for side in ("larger", "smaller"):
        before = state.log_cost(reference)
        for size in sides[side]:
            if not _can_win(state, size):
                break
            if not visit(state, size, why=_BESIDE[side]):
                # The budget does not reach for the side that promises more: it is kept for what
                # comes after.
                return
            if state.end is not None:  # another best asks for other whole trainings
                reserve(state, exploring=True)
            cost, best_cost = state.log_cost(size), state.best_log_cost()
            if cost is None or best_cost is None:
                break
            if cost > best_cost + math.log(_MUCH_WORSE):
                break
            if before is not None and side == "smaller" and state.question.objective != "time":
                if before - cost < math.log(_WORTH_GOING_ON):
                    break
            before = cost


_BESIDE = {
    "smaller": Reason.of("smaller_may_be_better"),
    "larger": Reason.of("larger_may_be_better"),
}


def visit(state: StudyState, batch_size: int, *, why: Reason) -> bool:
    """Tune a batch size and value it once, twice where it is among the best.

    Returns:
        Whether it was tuned; False: the budget did not reach for it, or there is nothing any more
        that it could be compared with.
    """
    if state.run_log.until is not None and state.best() is None:
        return False
    limit = cut_steps(state, batch_size)
    if not _pays(state, batch_size, limit):
        return False
    likely = state.rate_start(batch_size)
    state.run_log.note(
        Reason.of("tune_size", size=batch_size),
        Reason.of("tune_size_why", why=why, octaves=likely, limit=limit),
    )
    tuned = state.tune(batch_size, limit_steps=limit)
    if not tuned.records:
        del state.tuned[batch_size]
        return False
    if tuned.learning_rate is None:
        state.ruled_out[batch_size] = _why_none(state, batch_size, limit)
        # Not `limit`: a run may end before it, at the epochs allowed or with the budget.
        missed = [record.steps for record in tuned.records if not record.has_failed]
        if missed:
            state.missed_at[batch_size] = min(missed)
        out = Reason.of("size_is_out", size=batch_size)
        state.run_log.note(out, state.ruled_out[batch_size])
        return True
    cost, best_cost = state.log_cost(batch_size), state.best_log_cost()
    assert cost is not None
    assert best_cost is not None
    state.run_valuations(batch_size, 2 if cost <= best_cost + math.log(_CONTENDER) else 1)
    return True


def cut_steps(state: StudyState, batch_size: int) -> int:
    """At how many steps a run of this batch size cannot win any more; some other one has met it."""
    if state.run_log.until is None:
        return state.horizon_steps(batch_size)
    best = state.best()
    assert best is not None
    best_cost, best_learning_cost = state.best_log_cost(), state.log_learning_cost(best)
    assert best_cost is not None
    assert best_learning_cost is not None
    steps = _CUT_AT * math.exp(best_cost - state.log_weight(batch_size))
    # Nor can a batch of B need more steps than the best at a smaller batch does, or more examples,
    # unless the runs say otherwise.
    most = state.carried_over().most_steps(math.exp(best_learning_cost), best, batch_size)
    steps = min(steps, _CUT_AT * most)
    return max(1, math.ceil(steps))


def _pays(state: StudyState, batch_size: int, limit: int) -> bool:
    """Whether a search and its valuation fit into what is left: three rates and two seeds."""
    run_log = state.run_log
    usual = limit if run_log.until is None else _usual_steps(state, batch_size, limit)
    at_a_time = min(run_log.engine.n_workers, _RUNS_A_VISIT)
    visit_s = _RUNS_A_VISIT * run_log.run_s(batch_size, usual) / at_a_time
    return visit_s <= run_log.left_s()


def _usual_steps(state: StudyState, batch_size: int, limit: int) -> int:
    """Half way, on a log scale, from what it needs at least to what makes it no better."""
    no_better = limit / _CUT_AT
    bound = state.optimistic_log_cost(batch_size)
    if bound is None or math.isinf(bound):
        return math.ceil(no_better)
    least = min(no_better, math.exp(bound - state.log_weight(batch_size)))
    return math.ceil(math.sqrt(least * no_better))


def _anchors(state: StudyState, sign: int) -> list[int]:
    """The batch sizes at factors of about four from the reference, the last one the outermost."""
    reference = state.question.reference.batch_size
    sizes = sorted(
        (option.batch_size for option in state.options()),
        reverse=sign < 0,
    )
    sizes = [size for size in sizes if (size - reference) * sign > 0]
    anchors: list[int] = []
    here: float = reference
    for i, size in enumerate(sizes):
        far = max(size / here, here / size)
        if far >= _STRIDE * 0.75 or i == len(sizes) - 1:
            anchors.append(size)
            here = size
    return anchors


def _can_win(state: StudyState, batch_size: int) -> bool:
    bound, best_cost = state.optimistic_log_cost(batch_size), state.best_log_cost()
    if bound is None or best_cost is None:
        return True
    tolerance = math.log1p(state.question.delta)
    return bound <= best_cost + tolerance and not _law_rules_out(state, batch_size, tolerance)


def _law_rules_out(state: StudyState, batch_size: int, tolerance: float) -> bool:
    """Whether the law, as far as it is known, leaves the batch size no more than 1 in 40."""
    costs = costs_of(state)
    if costs is None or costs.fit is None or batch_size not in costs.batch_sizes:
        return False
    above = costs.draws - costs.draws.min(axis=1, keepdims=True)
    place = costs.batch_sizes.index(batch_size)
    return bool(np.quantile(above[:, place], _UNLIKELY) > tolerance)


def _why_none(state: StudyState, batch_size: int, limit: int) -> Reason:
    tuned = state.tuned[batch_size]
    if tuned.failed == len(tuned.records):
        return Reason.of("all_rates_failed", n=tuned.failed, why=why_it_failed(tuned.records[0]))
    return Reason.of("no_rate_met_target", limit=limit)
