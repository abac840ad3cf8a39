"""Verify: run the recommendation against the reference, on seeds that had no part in the choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from batchlab.advice.cool_down import with_cool_down
from batchlab.advice.endings import seeds_to_tell
from batchlab.advice.run_log import CellKey
from batchlab.advice.study_state import StudyState
from batchlab.advice.verification import Verification, cooled, nothing_verified, read
from batchlab.advice.verification_runs import (
    FOLLOW,
    FOLLOW_SHORTLY,
    N_SEEDS,
    compared_with,
    fastest_other,
    reference_cell,
    requests_of,
    seeds_that_fit,
)
from batchlab.advice.whole_training import compare_over_whole_trainings
from batchlab.records.reason import Reason

# Once begun, the others may take so much more than what is left: none is lost for a hair.
_SLACK = 1.1
_WHY_FRESH = Reason.of("chosen_runs_flatter")


def n_seeds_left(state: StudyState, batch_size: int) -> int:
    """On how many seeds the budget can follow it to the end, beside the references.

    What takes many epochs to the level needs references that are trained for as many.
    """
    state.run_log.reserved_s = 0.0
    cells = compared_with(state, batch_size)
    compare_over_whole_trainings(state, cells)
    return len(seeds_that_fit(state, cells, state.seeds.verify[: 2 * N_SEEDS]))


def verify(state: StudyState, batch_size: int, *, may_stop: bool = True) -> Verification:
    """Run the recommendation, the reference and the tuned reference on fresh seeds, paired.

    Where those speak against the recommendation, or one missed the target, further seeds are asked.

    Args:
        state: the runs.
        batch_size: the one to verify, tuned.
        may_stop: where the budget is short and another may be verified instead, its first seeds
            may be all.
    """
    state.run_log.reserved_s = 0.0
    chosen = state.cell(batch_size)
    assert chosen is not None
    cells = compared_with(state, batch_size)
    if state.end is not None:
        compare_over_whole_trainings(state, cells)
    n_looks = _n_looks(state, cells)
    # Looked at once, all seeds that the budget has are looked at.
    seeds = state.seeds.verify[: N_SEEDS if n_looks == 2 else 2 * N_SEEDS - 1]
    fitting = seeds_that_fit(state, cells, seeds)
    if may_stop and _may_give_way(state, cells):
        first = _run_in_turn(state, cells, fitting)
    else:
        first = _run(state, cells, fitting, why=_WHY_FRESH)
    if not first:
        cells = list(dict.fromkeys([chosen, _beside(state, chosen)]))
        fitting = seeds_that_fit(state, cells, seeds, FOLLOW_SHORTLY)
        first = _run(state, cells, fitting, why=_WHY_FRESH, follow=FOLLOW_SHORTLY)
    if not first:
        return nothing_verified(batch_size)
    found = read(state, first, chosen, n_looks=n_looks)
    seems_worse = found.endings is not None and found.endings.seems_worse
    if seems_worse and len(first) < len(fitting):
        return found.stopped_early()
    found = _cooled(state, found)
    if found.is_settled or n_looks == 1:
        return found
    fresh = [seed for seed in state.seeds.verify if seed not in first]
    fitting = seeds_that_fit(state, cells, tuple(fresh[: _n_further(found)]))
    further = _run(state, cells, fitting, why=_why_further(found))
    found = read(state, (*first, *further), chosen, n_looks=n_looks)
    return found if seems_worse else _cooled(state, found)


def _may_give_way(state: StudyState, cells: Sequence[CellKey]) -> bool:
    """Whether another batch size could use what its later seeds cost: the budget has few of them.

    By the seconds, not by the seeds that there are: with more of these it could follow both.
    """
    size, reference = cells[0][0], state.question.reference.batch_size
    if state.end is None or size == reference or fastest_other(state, size) is None:
        return False
    seeds = state.seeds.verify[: 2 * N_SEEDS]
    all_s = state.expected_s(requests_of(state, cells, seeds)) * 2 * N_SEEDS / len(seeds)
    return all_s > state.run_log.left_s()


def _run_in_turn(
    state: StudyState, cells: Sequence[CellKey], seeds: tuple[int, ...]
) -> tuple[int, ...]:
    """Run seed after seed until it seems to end worse; the seeds that were run.

    What the others would cost is kept for the next fastest. To stop early lets nothing pass that
    would not: "no worse" is read off all seeds or not at all.
    """
    # As many at once as there are cores for.
    at_once = max(1, state.run_log.engine.n_workers // len(cells))
    done: tuple[int, ...] = ()
    why = _WHY_FRESH
    slack = 1.0
    while todo := seeds_that_fit(state, cells, seeds[len(done) :], share=slack):
        now, later = todo[:at_once], todo[at_once : max(at_once, N_SEEDS - len(done))]
        all_s, *parts_s = (
            state.expected_s(requests_of(state, cells, some)) for some in (todo, now, later) if some
        )
        if sum(parts_s) > max(all_s, slack * state.run_log.left_s()):
            now = todo  # one after the other, the third would not fit
        slack = _SLACK
        done += _run(state, cells, now, why=why)
        if len(done) < len(seeds):
            ends = read(state, done, cells[0], n_looks=1).endings
            if ends is not None and ends.seems_worse:
                break
        why = Reason.of("not_seen_to_end_worse", size=cells[0][0], n=len(done))
    return done


def _cooled(state: StudyState, found: Verification) -> Verification:
    """With the ends under a cool-down, where the trainings end worse and it mends that."""
    if found.endings is None or not found.endings.seems_worse:
        return found
    endings = with_cool_down(state, found.endings)
    if endings.at_constant_rate is None:
        return replace(found, endings=endings)
    return cooled(state, found, endings)


def _beside(state: StudyState, chosen: CellKey) -> CellKey:
    """The one of the references to compare with, where the budget does not reach for both.

    The tuned one ends better as a rule.
    """
    tuned = state.cell(state.question.reference.batch_size)
    if state.end is None or tuned is None or tuned == chosen:
        return reference_cell(state)
    return tuned


def _n_looks(state: StudyState, cells: Sequence[CellKey]) -> int:
    """How often the whole trainings may be looked at: fixed by the budget, before any of them."""
    if state.end is None:
        return 2
    both = state.seeds.verify[: 2 * N_SEEDS]
    return 2 if len(seeds_that_fit(state, cells, both)) == 2 * N_SEEDS else 1


def _n_further(found: Verification) -> int:
    """How many more seeds are worth asking."""
    if found.endings is None or found.endings.verdict != "open":
        return N_SEEDS
    needed = seeds_to_tell(found.endings)
    return N_SEEDS if needed is None else max(N_SEEDS, needed - len(found.endings.seeds))


def _why_further(found: Verification) -> Reason:
    if found.against is not None:
        return found.against.why
    if found.missed or found.endings is None:
        return Reason.of("missed_on_a_fresh_seed", size=found.batch_size)
    return found.endings.reason


def _run(
    state: StudyState,
    cells: Sequence[CellKey],
    seeds: tuple[int, ...],
    *,
    why: Reason,
    follow: float = FOLLOW,
) -> tuple[int, ...]:
    """Run the cells on these seeds, if there are any; the seeds."""
    if seeds:
        state.run_log.note(_verified_on(state, cells[0][0], len(seeds)), why)
        # Side by side the longest run first, and the end of the budget cuts what is short: one
        # configuration on all seeds. So the last seed waits for the others.
        n_first = len(seeds) if state.end is None else max(1, len(seeds) - 1)
        for some in (seeds[:n_first], seeds[n_first:]):
            state.run_log.run(requests_of(state, cells, some, follow), "verify")
    return seeds


def _verified_on(state: StudyState, size: int, n: int) -> Reason:
    if state.end is None:
        return Reason.of("verify_on_fresh_seeds", size=size, n=n)
    return Reason.of("verify_to_the_end", size=size, n=n, epochs=state.whole_epochs)
