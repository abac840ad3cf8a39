"""Whole trainings: how long those that are compared are, and what the budget sets aside for them.

Where the end of a training is in question, a recommendation is verified by whole trainings on fresh
seeds, beside the reference as it is and at its tuned rate. Else by runs to the target.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from batchlab.advice.run_log import CellKey
from batchlab.advice.study_state import Size, StudyState
from batchlab.records.run import RunRequest

N_SEEDS = 3
# The reference is followed for so many times what the recommendation takes; a reference that has
# not met the target by then gives a lower bound, and following it further costs more than it tells.
FOLLOW = 6.0
# Where the budget is short: enough to show that it is not as good.
FOLLOW_SHORTLY = 2.0
_VERIFIED_AT_LEAST = 1 / 3
# Of the budget, what may be set aside for it; whole trainings tell more and cost more.
_RESERVED_AT_MOST = 1 / 4
_RESERVED_FOR_WHOLE = 1 / 2
# Before another batch size was tried there is nothing to show of it.
_RESERVED_WHILE_EXPLORING = 0.37
# A part of it is set aside even where three seeds cost less: often these leave it open.
_FOR_MORE_SEEDS = 1 / 4
# How much longer than expected whole trainings may take: one that the budget cuts tells nothing.
_LATE = 1.15
_MAY_BE_CUT = 1.1
# A rate that takes longer to the level gets half as much again, so that its last quarter lies
# beyond it.
BEYOND_THE_LEVEL = 1.5


# ---- how long they are


def compared_with(state: StudyState, size: Size) -> list[CellKey]:
    """The batch size at its rate and, each once, the reference as it is and at its tuned rate.

    From here on their whole trainings are equally long: as many passes as the reference takes to
    its end; where one of them is slower to the level, half as much again as that takes. No longer
    than the question allows.
    """
    found = (size.cell, state.reference_cell, state.reference.cell)
    cells = list(dict.fromkeys(cell for cell in found if cell is not None))
    if state.end is not None:
        longest = state.end.epochs
        for cell in cells:
            trained = state.sizes[cell[0]]
            if trained.search and trained.search.learning_cost and cell == trained.cell:
                steps = round(BEYOND_THE_LEVEL * trained.search.learning_cost)
                longest = max(longest, trained.plan.epoch_at(steps))
        state.whole_epochs = min(longest, state.question.longest_epochs or longest)
    return cells


def has_fewer_left(state: StudyState, n: float, *, at_once: int) -> bool:
    """Whether the budget has fewer than `n` whole trainings of the reference left.

    The end of a training was seen; `at_once` of them go side by side.
    """
    return state.left_s() * at_once < n * state.reference.run_s(state.reference.whole_steps)


# ---- their runs


def requests_of(
    state: StudyState, cells: Collection[CellKey], seeds: Sequence[int], follow: float = FOLLOW
) -> list[RunRequest]:
    """The runs of all cells on all seeds, seed by seed.

    Whole trainings where an end is in question, else until the target or `limit_steps`.
    """
    return [
        state.request(
            cell, seed, steps=limit_steps(state, cell, follow), whole=state.end is not None
        )
        for seed in seeds
        for cell in cells
    ]


def limit_steps(state: StudyState, cell: CellKey, follow: float = FOLLOW) -> int:
    """At how many steps such a run is cut, at the latest `follow` times what the best takes."""
    size = state.sizes[cell[0]]
    if state.until is None:
        return size.horizon_steps
    if state.end is not None:
        return size.whole_steps
    if cell == size.cell:
        return size.value_limit
    best_cost = state.best_log_cost
    assert best_cost is not None
    return max(1, math.ceil(follow * math.exp(best_cost - size.log_weight)))


def seeds_that_fit(
    state: StudyState,
    cells: Sequence[CellKey],
    seeds: tuple[int, ...],
    follow: float = FOLLOW,
    *,
    share: float = 1.0,
) -> tuple[int, ...]:
    """As many of the seeds, the first ones, as this share of what is left pays for in all cells."""
    left_s = max(0.0, share * state.left_s())  # what was run already costs nothing
    for n in range(len(seeds), 0, -1):
        # Of three seeds the last training may be cut: two that are whole still tell something.
        may_be_cut = state.end is not None and n == N_SEEDS
        requests = requests_of(state, cells, seeds[:n], follow)
        if state.usual_s(requests) <= (_MAY_BE_CUT if may_be_cut else 1.0) * left_s:
            return seeds[:n]
    return ()


def fastest_other(state: StudyState, but: Size | None = None) -> Size | None:
    """The fastest of the batch sizes that are neither this one nor the reference's.

    None: no other has a figure.
    """
    others = [size for size in state.that_met_the_target if size not in (state.reference, but)]
    return state.fastest(size for size in others if size.ruled_out is None)


# ---- what is set aside for them


def reserve(state: StudyState, *, exploring: bool = False, for_more_seeds: bool = True) -> None:
    """Set aside what the verification is expected to cost, at most a part of the budget.

    While `exploring` other batch sizes are yet to be tried. `for_more_seeds`: where it has to be
    shown that another batch size than the reference's ends no worse, a part of the budget is set
    aside even if three seeds cost less.
    """
    reference, budget_s, best = state.reference, state.question.budget_s, state.best
    # Where that is the reference's, the next fastest may turn out to be.
    may_change = state.end is not None and best in (None, reference)
    named = fastest_other(state) if may_change else best
    cells = compared_with(state, reference if named is None else named)
    # A first figure of another batch size tells more than the third seed of the reference alone.
    n_seeds = N_SEEDS - 1 if may_change and named is None else N_SEEDS
    needed_s = state.usual_s(requests_of(state, cells, state.seeds.verify[:n_seeds]))
    if state.end is None:
        state.reserved_s = min(needed_s, _RESERVED_AT_MOST * budget_s)
        return
    if for_more_seeds and best not in (None, reference):
        of_all_s = state.usual_s(requests_of(state, cells, state.seeds.verify))
        needed_s = max(needed_s, min(of_all_s, _FOR_MORE_SEEDS * budget_s))
    share = _RESERVED_WHILE_EXPLORING if exploring else _RESERVED_FOR_WHOLE
    state.reserved_s = min(_LATE * needed_s, share * budget_s)


def reserve_shortly(state: StudyState) -> None:
    """Leave only what it takes to show on a fresh seed that something is better than the reference.

    Without a recommendation there is less to verify, and more to find. Not where it has to be
    shown that it ends no worse: one fresh seed does not show that.
    """
    chosen = None if state.best is None else state.best.cell
    cells = dict.fromkeys(c for c in (state.reference_cell, chosen) if c is not None)
    requests = requests_of(state, cells, state.seeds.verify[:1], FOLLOW_SHORTLY)
    least_s = min(state.usual_s(requests), _RESERVED_AT_MOST * state.question.budget_s)
    state.reserved_s = max(_VERIFIED_AT_LEAST * state.reserved_s, least_s)


def more_s_for_seeds(state: StudyState, cells: Sequence[CellKey], *, done: int, n: int) -> float:
    """How much more budget lets whole trainings on `n` fresh seeds fit beside the search, about.

    `done` of the seeds need not be run again.
    """
    sizes = [state.sizes[cell[0]] for cell in cells]
    seed_s = sum(size.run_s(size.whole_steps) for size in sizes)
    # The last one may have a core to itself.
    a_seed_s, alone_s = seed_s / state.engine.n_workers, seed_s / len(sizes)
    more_s = _LATE * (max(1, n - done) * a_seed_s + alone_s)
    share = _RESERVED_FOR_WHOLE if n <= N_SEEDS + 1 else _FOR_MORE_SEEDS
    # The search takes its part of a larger budget, too.
    needed_s = max(state.engine.spent_s() + more_s, _LATE * (n * a_seed_s + alone_s) / share)
    return max(more_s, needed_s - state.question.budget_s)
