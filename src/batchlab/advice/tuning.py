"""Tuning: a batch size's rate is searched for, and valued on seeds that had no part in that."""

from __future__ import annotations

import math

from batchlab.advice.carried_over import pooled_sd
from batchlab.advice.study_state import WORTH_A_MOVE, RateSearch, Size, StudyState
from batchlab.records.estimate import Reason

# So many seeds tell a slow seed from a slow rate: two of them decide.
_SEEDS_TO_TELL = 3
# A rate that takes so much longer on the same fresh seeds (a log ratio) is not kept.
_CLEARLY_WORSE = 0.03


def tune(
    state: StudyState, size: Size, *, limit_steps: int, strides: tuple[int, ...] = (1,)
) -> RateSearch:
    """Search for the rate of a batch size.

    Where none met the target the seed may be a slow one: if the nearest of them meets it on
    another seed, the search is done again on that.
    """
    first, start = state.seeds.tune[0], state.rate_start(size)
    search = RateSearch(size=size)
    search.run(start=start, limit_steps=limit_steps, seed=first, strides=strides)
    for seed in state.seeds.tune[1:2]:  # a second one, if there is any
        nearest = search.nearest_on_another_seed(seed, limit_steps=limit_steps)
        if nearest is not None:
            state.note(
                Reason.of("again_on_another_seed", size=size.batch_size), Reason.of("slow_seed")
            )
            search = RateSearch(size=size)
            search.run(start=nearest, limit_steps=limit_steps, seed=seed)
    size.search = search
    if state.until is not None and search.learning_cost is not None:
        state.tuned_steps[size.batch_size] = search.learning_cost
    return search


def confirm(state: StudyState, size: Size) -> bool:
    """Ask a further seed about the rate of a batch size; False: none left, or no budget."""
    search = size.search
    assert search is not None
    fresh = [seed for seed in state.seeds.tune if seed not in search.seeds]
    if not fresh or search.learning_cost is None:
        return False
    before, learning_cost_before = search.learning_rate, search.learning_cost
    if not search.confirm(limit_steps=size.value_limit, seed=fresh[0]):
        return False
    n = len(search.seeds)
    state.note(
        Reason.of("asked_a_further_seed", size=size.batch_size),
        Reason.of("seeds_chose_it", n=n - 1),
    )
    rate = search.learning_rate
    if rate != before and rate is not None:
        assert before is not None
        search.former.append((before, learning_cost_before))
        state.note(
            Reason.of("another_rate", size=size.batch_size, rate=rate, before=before),
            Reason.of("lowest_point_of_seeds", n=n),
        )
    return True


def rate_in_doubt(state: StudyState, size: Size) -> bool:
    """Whether a further seed may move the rate to where it saves what is worth a move."""
    assert size.search is not None
    costs = [other.learning_costs() for other in state.that_met_the_target]
    sd, _ = pooled_sd([math.log(cost) for cost in found] for found in costs if found)
    return size.search.further_seed_saves(sd) > WORTH_A_MOVE


def run_valuations(state: StudyState, size: Size, n: int, *, why: Reason | None = None) -> bool:
    """Run the tuned rate with seeds that had no part in choosing it, until there are `n`.

    A rate that fails on a fresh seed, or on most of them is three times as slow as on the seed
    that chose it, was luck: the next lower one takes its place. One such seed among others
    says little, so it makes three of them.

    Whether there are as many now; False: the budget, the seeds or the rates ran out.
    """
    while size.cell is not None:
        done = size.valuations
        if _was_luck(state, size):
            _step_down(state, size)
            continue
        if any(size.missed_after(record) is not None for record in done.values()):
            n = max(n, _SEEDS_TO_TELL)
        if len(done) >= n:
            _keep_the_better_rate(size)
            return True
        fresh = [seed for seed in state.seeds.value if seed not in done][: n - len(done)]
        requests = [state.request(size.cell, seed, steps=size.value_limit) for seed in fresh]
        if not requests or state.usual_s(requests) > state.left_s():
            return False
        state.note(
            Reason.of("value_size", size=size.batch_size, rate=size.cell[1], n=len(requests)),
            why or Reason.of("choosing_seed_flatters"),
        )
        state.run(requests, "value")
        if len(size.valuations) == len(done):
            return False  # their turn never came
    return False


def _keep_the_better_rate(size: Size) -> None:
    """Where a further seed moved the rate and fresh seeds speak against it, move it back."""
    search, log = size.search, size.run_log
    assert search is not None
    for rate, cost in search.former:
        here, there = size.valuations, log.of_cell((size.batch_size, rate), "value")
        both = [(run, there[seed]) for seed, run in here.items() if seed in there]
        pairs = [(log.learning_cost(new), log.learning_cost(old)) for new, old in both]
        logs = [math.log(new / old) for new, old in pairs if new and old]
        if len(logs) == len(pairs) > 1 and sum(logs) / len(logs) > _CLEARLY_WORSE:
            log.note(
                Reason.of("back_to_rate", size=size.batch_size, rate=rate),
                Reason.of("fewer_steps_on_same_seeds"),
            )
            search.learning_rate, search.learning_cost = rate, cost


def _was_luck(state: StudyState, size: Size) -> bool:
    """Whether the rate failed on a seed, or missed the target on most of two or more.

    Where each seed draws its examples, not on those that are too hard for the reference too.
    """
    records = size.valuations
    if any(record.has_failed for record in records.values()):
        return True
    missed = {seed for seed, record in records.items() if size.missed_after(record) is not None}
    if state.question.draws_by_seed:
        reference = state.reference
        missed -= {s for s, r in reference.valuations.items() if reference.missed_after(r)}
    return len(missed) >= 2 and 2 * len(missed) > len(records)


def _step_down(state: StudyState, size: Size) -> None:
    """Take the next lower rate; where there is none the batch size is out."""
    search, of_last = size.search, size.valuations.values()
    assert search is not None
    search.step_down()
    did = Reason.of("no_lower_rate", size=size.batch_size)
    if search.learning_rate is not None:
        did = Reason.of("lower_rate", size=size.batch_size, rate=search.learning_rate)
    state.note(did, Reason.of("fresh_seed_did_not_survive"))
    if search.learning_rate is None:
        why = next((record.reason for record in of_last if record.reason), None)
        size.ruled_out = Reason.of("no_rate_held")
        if why is not None:
            size.ruled_out = Reason.of("no_rate_held_because", why=why)
