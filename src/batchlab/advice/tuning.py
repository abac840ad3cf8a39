"""Tuning: a batch size's rate is searched for, and valued on seeds that had no part in that."""

from __future__ import annotations

import math
from collections.abc import Collection

from batchlab.advice.carried_over import pooled_sd
from batchlab.advice.run_log import why_none_held
from batchlab.advice.study_state import WORTH_A_MOVE, RateSearch, StudyState
from batchlab.records.estimate import Reason
from batchlab.records.trial import TrialRecord

# So many seeds tell a slow seed from a slow rate: two of them decide.
_SEEDS_TO_TELL = 3
# A rate that takes so much longer on the same fresh seeds (a log ratio) is not kept.
_CLEARLY_WORSE = 0.03


def tune(
    state: StudyState, batch_size: int, *, limit_steps: int, strides: tuple[int, ...] = (1,)
) -> RateSearch:
    """Search for the rate of a batch size.

    Where none met the target the seed may be a slow one: if the nearest of them meets it on
    another seed, the search is done again on that.
    """
    seed, start = state.seeds.tune[0], state.rate_start(batch_size)
    search = RateSearch(run_log=state.run_log, batch_size=batch_size)
    search.run(start=start, limit_steps=limit_steps, seed=seed, strides=strides)
    if search.may_be_a_slow_seed and len(state.seeds.tune) > 1:
        seed = state.seeds.tune[1]
        nearest = search.nearest_on_another_seed(seed, limit_steps=limit_steps)
        if nearest is not None:
            state.run_log.note(
                Reason.of("again_on_another_seed", size=batch_size), Reason.of("slow_seed")
            )
            search = RateSearch(run_log=state.run_log, batch_size=batch_size)
            search.run(start=nearest, limit_steps=limit_steps, seed=seed)
    state.tuned[batch_size] = search
    if state.run_log.until is not None and search.learning_cost is not None:
        state.run_log.tuned_steps[batch_size] = search.learning_cost
    return search


def confirm(state: StudyState, batch_size: int) -> bool:
    """Ask a further seed about the rate of a batch size; False: none left, or no budget."""
    search = state.tuned[batch_size]
    if state.is_confirmed(batch_size) or search.learning_cost is None:
        return False
    seed = next(seed for seed in state.seeds.tune if seed not in search.seeds)
    before, learning_cost_before = search.learning_rate, search.learning_cost
    if not search.confirm(limit_steps=state.value_limit(batch_size), seed=seed):
        return False
    state.run_log.note(
        Reason.of("asked_a_further_seed", size=batch_size),
        Reason.of("seeds_chose_it", n=len(search.seeds) - 1),
    )
    if search.learning_rate != before and search.learning_rate is not None:
        assert before is not None
        search.former.append((before, learning_cost_before))
        state.run_log.note(
            Reason.of("another_rate", size=batch_size, rate=search.learning_rate, before=before),
            Reason.of("lowest_point_of_seeds", n=len(search.seeds)),
        )
    return True


def rate_in_doubt(state: StudyState, batch_size: int) -> bool:
    """Whether a further seed may move the rate to where it saves what is worth a move."""
    sd, _ = pooled_sd(
        [math.log(cost) for cost in found_costs]
        for found_costs in map(state.learning_costs, state.that_met_the_target())
        if found_costs
    )
    return state.tuned[batch_size].further_seed_saves(sd) > WORTH_A_MOVE


def run_valuations(
    state: StudyState, batch_size: int, n: int, *, why: Reason | None = None
) -> bool:
    """Run the tuned rate with seeds that had no part in choosing it, until there are `n`.

    A rate that fails on a fresh seed, or on most of them is three times as slow as on the seed
    that chose it, was luck: the next lower one takes its place. One such seed among others
    says little, so it makes three of them.

    Whether there are as many now; False: the budget, the seeds or the rates ran out.
    """
    while True:
        search = state.tuned[batch_size]
        cell = state.cell(batch_size)
        if cell is None:
            return False
        done = state.valuation_runs(batch_size)
        if _was_luck(state, batch_size, done.values()):
            search.step_down()
            state.run_log.note(
                _lower_rate(batch_size, search.learning_rate),
                Reason.of("fresh_seed_did_not_survive"),
            )
            if search.learning_rate is None:
                state.ruled_out[batch_size] = why_none_held(done.values())
            continue
        missed = sum(state.missed_after(batch_size, r) is not None for r in done.values())
        n = max(n, _SEEDS_TO_TELL) if missed else n
        if len(done) >= n:
            _keep_the_better_rate(state, batch_size)
            return True
        fresh = [seed for seed in state.seeds.value if seed not in done][: n - len(done)]
        requests = [
            state.run_log.request(
                batch_size=batch_size,
                learning_rate=cell[1],
                seed=seed,
                steps=state.value_limit(batch_size),
            )
            for seed in fresh
        ]
        if not requests or state.expected_s(requests) > state.run_log.left_s():
            return False
        state.run_log.note(
            Reason.of("value_size", size=batch_size, rate=cell[1], n=len(requests)),
            why or Reason.of("choosing_seed_flatters"),
        )
        state.run_log.run(requests, "value")
        if len(state.valuation_runs(batch_size)) == len(done):
            return False  # their turn never came


def _keep_the_better_rate(state: StudyState, batch_size: int) -> None:
    """Where a further seed moved the rate and fresh seeds speak against it, move it back."""
    search = state.tuned[batch_size]
    assert search.learning_rate is not None
    for rate, cost in search.former:
        here = state.run_log.of_cell((batch_size, search.learning_rate), "value")
        there = state.run_log.of_cell((batch_size, rate), "value")
        pairs = [
            (
                state.run_log.learning_cost(here[seed]),
                state.run_log.learning_cost(there[seed]),
            )
            for seed in here
            if seed in there
        ]
        logs = [math.log(new / old) for new, old in pairs if new and old]
        if len(logs) == len(pairs) > 1 and sum(logs) / len(logs) > _CLEARLY_WORSE:
            state.run_log.note(
                Reason.of("back_to_rate", size=batch_size, rate=rate),
                Reason.of("fewer_steps_on_same_seeds"),
            )
            search.learning_rate, search.learning_cost = rate, cost


def _was_luck(state: StudyState, batch_size: int, records: Collection[TrialRecord]) -> bool:
    """Whether the rate failed on a seed, or missed the target on most of two or more."""
    if any(record.has_failed for record in records):
        return True
    missed = sum(state.missed_after(batch_size, record) is not None for record in records)
    return missed >= 2 and 2 * missed > len(records)


def _lower_rate(batch_size: int, rate: float | None) -> Reason:
    if rate is None:
        return Reason.of("no_lower_rate", size=batch_size)
    return Reason.of("lower_rate", size=batch_size, rate=rate)
