"""Verify: run the recommendation against the reference, on seeds that had no part in the choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from batchlab.advice.cool_down import with_cool_down
from batchlab.advice.endings import seeds_to_tell
from batchlab.advice.run_log import CellKey
from batchlab.advice.study_state import StudyState
from batchlab.advice.verification import Verification, nothing_verified, read
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

# With fewer seeds nothing can be shown of how trainings end.
_FEWEST_FOLLOWED = 2


def can_be_followed(state: StudyState, batch_size: int) -> bool:
    """Whether what is left of the budget reaches for its whole trainings and the references'.

    What takes many epochs to the level needs references that are trained for as many.
    """
    if state.end is None:
        return True
    state.run_log.reserved_s = 0.0
    cells = compared_with(state, batch_size)
    compare_over_whole_trainings(state, cells)
    seeds = state.seeds.verify[:_FEWEST_FOLLOWED]
    return seeds_that_fit(state, cells, seeds) == seeds


def verify(state: StudyState, batch_size: int) -> Verification:
    """Run the recommendation, the reference and the tuned reference on fresh seeds, paired.

    Where those speak against the recommendation, or one missed the target, further seeds are asked.
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
    why = Reason.of("chosen_runs_flatter")
    if n_looks == 1 and fastest_other(state, batch_size) is not None:
        found = _stopped_early(state, cells, seeds, chosen, why=why)
        if found is not None:
            return found
    first = _run(state, cells, seeds, why=why)
    if not first:
        two = list(dict.fromkeys([chosen, _beside(state, chosen)]))
        first = _run(state, two, seeds, why=why, follow=FOLLOW_SHORTLY)
    if first:
        found = read(state, first, chosen, n_looks=n_looks)
        seems_worse = found.endings is not None and found.endings.seems_worse
        if seems_worse:
            found = _cooled(state, found)
        if found.is_settled or n_looks == 1:
            return found
        fresh = [seed for seed in state.seeds.verify if seed not in first]
        seeds = tuple(fresh[: _n_further(found)])
        further = _run(state, cells, seeds, why=_why_further(found))
        found = read(state, (*first, *further), chosen, n_looks=n_looks)
        return found if seems_worse else _cooled(state, found)
    return nothing_verified(batch_size)


def _stopped_early(
    state: StudyState,
    cells: Sequence[CellKey],
    seeds: tuple[int, ...],
    chosen: CellKey,
    *,
    why: Reason,
) -> Verification | None:
    """What the first seeds said, if by these it seems to end worse; None: it does not.

    Where the budget has few seeds, what the others would cost is kept for the next fastest. To stop
    here makes nothing pass that would not: "no worse" is read off all seeds or not at all.
    """
    # As many at once as keep the cores busy.
    at_once = max(1, state.run_log.engine.n_workers // len(cells))
    for n in range(at_once, len(seeds_that_fit(state, cells, seeds)), at_once):
        done = _run(state, cells, seeds[:n], why=why if n == at_once else None)
        found = read(state, done, chosen, n_looks=1)
        if found.endings is not None and found.endings.seems_worse:
            return found
    return None


def _cooled(state: StudyState, found: Verification) -> Verification:
    """With the ends under a cool-down, where the trainings end worse and it mends that."""
    if found.endings is None or not found.endings.seems_worse:
        return found
    return replace(found, endings=with_cool_down(state, found.endings))


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
    why: Reason | None,
    follow: float = FOLLOW,
) -> tuple[int, ...]:
    """Run the cells on as many of these seeds as the budget has left for; those that were run.

    Without a `why` it is not written down: it goes on with what is.
    """
    fitting = seeds_that_fit(state, cells, seeds, follow)
    requests = requests_of(state, cells, fitting, follow)
    if fitting:
        if why is not None:
            state.run_log.note(_verified_on(state, cells[0][0], len(fitting)), why)
        state.run_log.run(requests, "verify")
    return fitting


def _verified_on(state: StudyState, size: int, n: int) -> Reason:
    if state.end is None:
        return Reason.of("verify_on_fresh_seeds", size=size, n=n)
    return Reason.of("verify_to_the_end", size=size, n=n, epochs=state.whole_epochs)
