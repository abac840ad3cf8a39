"""Verification: the recommendation against the reference, on seeds that had no part in the choice.

Source: design §6.8: the best of many noisy cells looks better than it is; so what is reported of
the recommendation, and its gain, comes from these runs alone. Where the end of a training was seen
they are whole trainings, so that they also say how each configuration ends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from scipy.special import stdtrit

from batchlab.advice.agreement import Objection, disagreement
from batchlab.advice.cool_down import with_cool_down
from batchlab.advice.costs import weight_sd
from batchlab.advice.endings import endings_of, seeds_to_tell
from batchlab.advice.parts import Endings, HeadToHead
from batchlab.advice.run_log import CellKey
from batchlab.advice.scatter import scatter_of_fresh_seeds
from batchlab.advice.study_state import StudyState
from batchlab.advice.tuning import learning_cost_of
from batchlab.advice.verification_runs import (
    FOLLOW,
    FOLLOW_SHORTLY,
    N_SEEDS,
    compared_with,
    fastest_other,
    limit_steps,
    reference_cell,
    requests_of,
    seeds_that_fit,
)
from batchlab.advice.whole_training import compare_over_whole_trainings
from batchlab.records.estimate import Estimate
from batchlab.records.reason import Reason

# With fewer seeds nothing can be shown of how trainings end.
_FEWEST_FOLLOWED = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """What fresh seeds said.

    Attributes:
        batch_size: of what was verified.
        head_to_head: the figures seed by seed; None: nothing could be run.
        log_learning_cost: the recommendation's mean log steps (quality: shortfall); None: unknown.
        half_width: of its 95 % interval, on the log scale; None: not known.
        n: runs of the recommendation that have a figure.
        missed: runs of the recommendation that missed the target or failed.
        against: what they say against the recommendation; None: nothing.
        gain: the reference's figure over the recommendation's.
        gain_from_batch_size: the same for the reference batch size at its own tuned rate.
        endings: how whole trainings end; None: an end was not in question, or none was seen.
    """

    batch_size: int
    head_to_head: HeadToHead | None
    log_learning_cost: float | None
    half_width: float | None
    n: int
    missed: int
    gain: Estimate
    gain_from_batch_size: Estimate
    against: Objection | None = None
    endings: Endings | None = None

    @property
    def is_settled(self) -> bool:
        """Whether further seeds would hardly change what it says."""
        if self.endings is not None and self.endings.verdict != "no_worse":
            return self.endings.verdict == "worse"
        return self.against is None and not self.missed


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
    reference = reference_cell(state)
    tuned = state.cell(state.question.reference.batch_size)
    cells = compared_with(state, batch_size)
    if state.end is not None:
        compare_over_whole_trainings(state, cells)
    n_looks = _n_looks(state, cells)
    # Looked at once, all seeds that the budget has are looked at.
    seeds = state.seeds.verify[: N_SEEDS if n_looks == 2 else 2 * N_SEEDS - 1]
    why = Reason.of("chosen_runs_flatter")
    if n_looks == 1 and fastest_other(state, batch_size) is not None:
        found = _stopped_early(state, cells, seeds, chosen, reference, tuned, why=why)
        if found is not None:
            return found
    first = _run(state, cells, seeds, why=why)
    if not first:
        two = list(dict.fromkeys([chosen, _beside(state, chosen)]))
        first = _run(state, two, seeds, why=why, follow=FOLLOW_SHORTLY)
    if first:
        found = _read(state, first, chosen, reference, tuned, n_looks=n_looks)
        seems_worse = found.endings is not None and found.endings.seems_worse
        if seems_worse:
            found = _cooled(state, found)
        if found.is_settled or n_looks == 1:
            return found
        fresh = [seed for seed in state.seeds.verify if seed not in first]
        seeds = tuple(fresh[: _n_further(found)])
        further = _run(state, cells, seeds, why=_why_further(found))
        found = _read(state, (*first, *further), chosen, reference, tuned, n_looks=n_looks)
        return found if seems_worse else _cooled(state, found)
    why = Reason.of("nothing_left_for_fresh_seeds")
    return Verification(
        batch_size=batch_size,
        head_to_head=None,
        log_learning_cost=None,
        half_width=None,
        n=0,
        missed=0,
        gain=Estimate.cannot_tell(why),
        gain_from_batch_size=Estimate.cannot_tell(why),
    )


def _stopped_early(
    state: StudyState,
    cells: Sequence[CellKey],
    seeds: tuple[int, ...],
    chosen: CellKey,
    reference: CellKey,
    tuned: CellKey | None,
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
        found = _read(state, done, chosen, reference, tuned, n_looks=1)
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


def _read(
    state: StudyState,
    seeds: tuple[int, ...],
    chosen: CellKey,
    reference: CellKey,
    tuned: CellKey | None,
    *,
    n_looks: int,
) -> Verification:
    figures = {
        cell: _log_figures(state, cell, seeds) for cell in (chosen, reference, tuned) if cell
    }
    sd, degrees = scatter_of_fresh_seeds(state.run_log)
    mine = [value for value in figures[chosen].values() if value is not None]
    missed = sum(_missed(state, chosen, seed) for seed in seeds)
    quantile = float(stdtrit(degrees, 0.975))
    weight = state.log_weight(chosen[0])
    gains = {
        other: _gain(state, chosen, other, figures, error=quantile * sd, quantile=quantile)
        for other in (reference, tuned)
        if other is not None
    }
    return Verification(
        batch_size=chosen[0],
        head_to_head=HeadToHead(
            seeds=seeds,
            recommended=_plain(figures[chosen], seeds),
            reference=_plain(figures[reference], seeds),
            reference_tuned=() if tuned is None else _plain(figures[tuned], seeds),
            reference_bounds=tuple(_bound(state, reference, seed) for seed in seeds),
        ),
        log_learning_cost=sum(mine) / len(mine) - weight if mine else None,
        half_width=quantile * sd / math.sqrt(len(mine)) if mine else None,
        n=len(mine),
        missed=missed,
        gain=gains[reference],
        gain_from_batch_size=Estimate.cannot_tell(Reason.of("reference_has_no_tuned_rate"))
        if tuned is None
        else gains[tuned],
        against=disagreement(
            state,
            chosen,
            [cost - weight for cost in mine],
            missed=missed,
            gains=gains,
            lost_to=[other for other in gains if _lost(figures[chosen], figures[other])],
        ),
        endings=endings_of(
            state, seeds, recommended=chosen, reference=reference, tuned=tuned, n_looks=n_looks
        ),
    )


def _lost(mine: Mapping[int, float | None], theirs: Mapping[int, float | None]) -> bool:
    """Whether another configuration was better on every seed that both have a figure of."""
    pairs = [(own, theirs[seed]) for seed, own in mine.items()]
    both = [(own, other) for own, other in pairs if own is not None and other is not None]
    return bool(both) and all(other < own for own, other in both)


def _gain(
    state: StudyState,
    chosen: CellKey,
    other: CellKey,
    figures: Mapping[CellKey, Mapping[int, float | None]],
    *,
    error: float,
    quantile: float,
) -> Estimate:
    """How many times the other's figure is the chosen one's, over the seeds that both ran.

    `error` is the half width of one run's 95 % interval, log; `quantile` gives that of a step time.
    """
    if chosen == other:
        return Estimate.of(1.0, interval=(1.0, 1.0), n=len(figures[chosen]))
    ratios, is_bound = [], False
    for seed, own in figures[chosen].items():
        figure = figures[other][seed]
        if own is None:
            continue
        if figure is None:
            bound = _bound(state, other, seed)
            if bound is None:
                continue
            figure, is_bound = math.log(bound), True
        ratios.append(figure - own)
    if not ratios:
        return Estimate.cannot_tell(Reason.of("no_seed_with_both"), n=0)
    mean = sum(ratios) / len(ratios)
    half = error * math.sqrt(2 / len(ratios))
    if chosen[0] != other[0]:  # else both have the same step time, which cancels
        weights = (weight_sd(state, chosen[0]), weight_sd(state, other[0]))
        half = math.hypot(half, quantile * weights[0], quantile * weights[1])
    if is_bound:
        return Estimate(
            estimate=None,
            low=math.exp(mean - half),
            high=None,
            n=len(ratios),
            reason=Reason.of("missed_while_followed"),
        )
    return Estimate.of(
        math.exp(mean), interval=(math.exp(mean - half), math.exp(mean + half)), n=len(ratios)
    )


def _log_figures(
    state: StudyState, cell: CellKey, seeds: tuple[int, ...]
) -> dict[int, float | None]:
    """The objective's figure, log, by seed; None where the run has none."""
    figures: dict[int, float | None] = {}
    for seed in seeds:
        record = state.run_log.records.get((*cell, seed))
        cost = None if record is None else learning_cost_of(state.run_log, record)
        figures[seed] = None if cost is None else math.log(cost) + state.log_weight(cell[0])
    return figures


def _bound(state: StudyState, cell: CellKey, seed: int) -> float | None:
    """The figure by which a run that missed the target had not met it; None: it did, or failed."""
    record = state.run_log.records.get((*cell, seed))
    if record is None or state.run_log.until is None or record.steps == 0:
        return None
    if learning_cost_of(state.run_log, record) is not None or record.has_failed:
        return None
    return math.exp(math.log(record.steps) + state.log_weight(cell[0]))


def _missed(state: StudyState, cell: CellKey, seed: int) -> bool:
    """Whether a run failed or was followed to its limit in vain; out of time is not in vain."""
    record = state.run_log.records.get((*cell, seed))
    if record is None or learning_cost_of(state.run_log, record) is not None:
        return False
    return record.has_failed or record.steps >= limit_steps(state, cell)


def _plain(figures: dict[int, float | None], seeds: tuple[int, ...]) -> tuple[float | None, ...]:
    found = (figures[seed] for seed in seeds)
    return tuple(None if value is None else math.exp(value) for value in found)
