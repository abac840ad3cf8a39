"""Verification: what fresh seeds said of the recommendation and the reference, side by side.

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
from batchlab.advice.costs import weight_sd
from batchlab.advice.endings import endings_of
from batchlab.advice.parts import Endings, HeadToHead
from batchlab.advice.run_log import CellKey
from batchlab.advice.scatter import pooled_sd, rounding_sd, scatter_of_fresh_seeds
from batchlab.advice.study_state import StudyState
from batchlab.advice.tuning import learning_cost_of
from batchlab.advice.verification_runs import limit_steps, reference_cell
from batchlab.advice.whole_training import whole_steps
from batchlab.records.estimate import Estimate
from batchlab.records.reason import Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """What fresh seeds said.

    Attributes:
        batch_size: of what was verified.
        head_to_head: the figures seed by seed; None: nothing could be run.
        log_learning_cost: the recommendation's mean log steps (quality: shortfall), where a run
            missed the target the steps that it was followed for; None: unknown.
        half_width: of its 95 % interval, on the log scale; None: not known.
        n: runs of the recommendation that have a figure.
        missed: runs of the recommendation that missed the target or failed.
        against: what they say against the recommendation; None: nothing.
        gain: the reference's figure over the recommendation's.
        gain_from_batch_size: the same for the reference batch size at its tuned rate.
        endings: how whole trainings end; None: an end was not in question, or none was seen.
        is_cut: it seemed to end worse on the first seeds, and the others were kept.
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
    is_cut: bool = False

    @property
    def is_settled(self) -> bool:
        """Whether further seeds would hardly change what it says."""
        if self.endings is not None and self.endings.verdict != "no_worse":
            return self.endings.verdict == "worse"
        return self.against is None and not self.missed

    def stopped_early(self) -> Verification:
        """The same where the first seeds were all: that it ends worse is not for sure then.

        A training that failed is.
        """
        ends = self.endings
        if ends is None or ends.reason.code == "whole_trainings_failed":
            return self
        why = Reason.of(
            "seems_to_end_worse",
            size=ends.recommended.batch_size,
            ends=ends.recommended.mean,
            other=ends.compared_with.as_reason,
            other_ends=ends.compared_with.mean,
            n=ends.difference.n,
        )
        return replace(self, endings=replace(ends, verdict="open", reason=why), is_cut=True)


def nothing_verified(batch_size: int) -> Verification:
    """Where the budget had nothing left for a fresh seed."""
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


def read(
    state: StudyState, seeds: tuple[int, ...], chosen: CellKey, *, n_looks: int
) -> Verification:
    """What the runs on these seeds say.

    Args:
        state: the runs.
        seeds: that had no part in the choice; the configurations ran on them.
        chosen: the batch size and rate that are verified.
        n_looks: how often these seeds, or some of them, are looked at.
    """
    reference = reference_cell(state)
    tuned = state.cell(state.question.reference.batch_size)
    figures = {cell: log_figures(state, cell, seeds) for cell in (chosen, reference, tuned) if cell}
    mine = [value for value in figures[chosen].values() if value is not None]
    missing = [seed for seed in seeds if _missed(state, chosen, seed)]
    weight = state.log_weight(chosen[0])
    counted = {chosen: _with_misses(state, chosen, figures[chosen], missing)}
    all_mine = [value for value in counted[chosen].values() if value is not None]
    sd, degrees = _scatter(state, all_mine if missing else [])
    quantile = float(stdtrit(degrees, 0.975))
    gains = {
        other: _gain(state, chosen, other, figures | counted, sd=(sd, sd), quantile=quantile)
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
        log_learning_cost=sum(all_mine) / len(all_mine) - weight if mine else None,
        half_width=quantile * _error_of_mean(state, chosen, seeds, sd, len(all_mine))
        if mine
        else None,
        n=len(mine),
        missed=len(missing),
        gain=gains[reference],
        gain_from_batch_size=Estimate.cannot_tell(Reason.of("reference_has_no_tuned_rate"))
        if tuned is None
        else gains[tuned],
        against=disagreement(
            state,
            chosen,
            [cost - weight for cost in mine],
            missed=len(missing),
            gains=gains,
            lost_to=[other for other in gains if _lost(figures[chosen], figures[other])],
        ),
        endings=endings_of(
            state, seeds, recommended=chosen, reference=reference, tuned=tuned, n_looks=n_looks
        ),
    )


def cooled(state: StudyState, found: Verification, endings: Endings) -> Verification:
    """The same with a cool-down: it takes a whole training, against the references to the level.

    Args:
        state: the runs.
        found: what the fresh seeds say at a constant rate.
        endings: how the trainings with a cool-down end.
    """
    chosen, seeds = endings.recommended.cell, endings.seeds
    cost = math.log(whole_steps(state, chosen[0]))
    sd, degrees = scatter_of_fresh_seeds(state.run_log)
    quantile = float(stdtrit(degrees, 0.975))
    own: dict[int, float | None] = {seed: cost + state.log_weight(chosen[0]) for seed in seeds}

    def gain(other: CellKey) -> Estimate:
        figures = {chosen: own, other: log_figures(state, other, seeds)}
        # How long it takes is known: the scatter is the other's alone.
        return _gain(state, chosen, other, figures, sd=(None, sd), quantile=quantile)

    tuned = state.cell(state.question.reference.batch_size)
    return replace(
        found,
        endings=endings,
        log_learning_cost=cost,
        half_width=0.0,
        n=len(seeds),
        gain=gain(reference_cell(state)),
        gain_from_batch_size=found.gain_from_batch_size if tuned in (None, chosen) else gain(tuned),
    )


def _scatter(state: StudyState, with_misses: Sequence[float]) -> tuple[float, int]:
    """The scatter of one run with its degrees of freedom.

    That of all cells together, or the cell's own with the runs that missed (none: there are none),
    if it scatters more: they tell that it is unlike the others.
    """
    pooled = scatter_of_fresh_seeds(state.run_log)
    if len(with_misses) < 2:
        return pooled
    own = pooled_sd([with_misses])
    return max(pooled, own)


def _with_misses(
    state: StudyState,
    cell: CellKey,
    figures: Mapping[int, float | None],
    missing: Sequence[int],
) -> Mapping[int, float | None]:
    """The figures, with those that missed the target at their limit; quality has no such bound."""
    if state.run_log.until is None or not missing:
        return figures
    followed = math.log(limit_steps(state, cell)) + state.log_weight(cell[0])
    return {**figures, **dict.fromkeys(missing, followed)}


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
    sd: tuple[float | None, float],
    quantile: float,
) -> Estimate:
    """How many times the other's figure is the chosen one's, over the seeds that both ran.

    Args:
        state: the runs.
        chosen: its batch size and rate.
        other: the one that it is compared with.
        figures: the log figures of both, by seed.
        sd: of one run of each, log; None: its figure is known.
        quantile: what standard errors are multiplied with for a 95 % interval.
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
    seeds = tuple(figures[chosen])
    errors = [
        _error_of_mean(state, cell, seeds, of_one, len(ratios))
        for cell, of_one in zip((chosen, other), sd, strict=True)
    ]
    half = quantile * math.hypot(*errors)
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


def _error_of_mean(
    state: StudyState, cell: CellKey, seeds: tuple[int, ...], sd: float | None, n: int
) -> float:
    """The standard error of the mean log figure of n seeds that scatter by `sd`; None: known."""
    if sd is None:
        return 0.0
    return max(sd / math.sqrt(n), rounding_sd(state.run_log, cell, seeds))


def mean_of_all(figures: Mapping[int, float | None]) -> float | None:
    """The mean of figures by seed; None where one of them is missing, or there are none."""
    found = [figure for figure in figures.values() if figure is not None]
    return sum(found) / len(found) if found and len(found) == len(figures) else None


def log_figures(
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
    is_over = record.has_failed or record.has_ended_itself
    return is_over or record.steps >= limit_steps(state, cell)


def _plain(figures: dict[int, float | None], seeds: tuple[int, ...]) -> tuple[float | None, ...]:
    found = (figures[seed] for seed in seeds)
    return tuple(None if value is None else math.exp(value) for value in found)
