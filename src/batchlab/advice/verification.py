"""Verification: what fresh seeds said of the recommendation and the reference, side by side."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from scipy.special import stdtrit

from batchlab.advice.advice import Endings, HeadToHead
from batchlab.advice.carried_over import pooled_sd
from batchlab.advice.decision import Decision
from batchlab.advice.endings import endings_of, seeds_to_tell
from batchlab.advice.run_log import CellKey
from batchlab.advice.study_state import Size, StudyState
from batchlab.advice.whole_trainings import (
    FOLLOW,
    FOLLOW_SHORTLY,
    N_SEEDS,
    compared_with,
    fastest_other,
    limit_steps,
    requests_of,
    seeds_that_fit,
)
from batchlab.records.estimate import Estimate, Reason

# ---- what fresh seeds say against a recommendation


# Slower than promised by more than chance explains, one time in a hundred.
_LEVEL = 0.99


def disagreement(
    state: StudyState,
    cell: CellKey,
    log_costs: Sequence[float],
    *,
    missed: int,
    gains: Mapping[CellKey, Estimate],
    lost_to: Collection[CellKey],
) -> tuple[Reason | None, CellKey | None]:
    """What they say against it, and the configuration that was better on them, if any was.

    `log_costs` are its log learning costs on fresh seeds, `missed` so many others of these had
    none; `gains` is how many times better it is than each of the references, `lost_to` are those
    of them that were better on every seed.
    """
    size, n = cell[0], len(log_costs) + missed
    if missed and 2 * missed >= n:
        return Reason.of("missed_on_fresh_seeds", size=size, missed=missed, n=n), None
    times = _times_slower(state.sizes[size], log_costs)
    if times is not None:
        return Reason.of("slower_on_fresh_seeds", size=size, times=times, n=n), None
    for other, gain in gains.items():
        # Where ends alone are compared, one below the reference's own wins nothing.
        is_own_end = state.until is None and other == state.reference_cell
        delta = 0.0 if is_own_end else state.question.delta
        if other != cell and _is_worse(gain, delta, always=is_own_end or other in lost_to):
            why = Reason.of(
                "reference_was_better", size=size, other=other[0], rate=other[1], n=gain.n
            )
            return why, other
    return None, None


def _is_worse(gain: Estimate, delta: float, *, always: bool) -> bool:
    """For sure, or on every seed and by more than delta in the mean."""
    if gain.high is not None and gain.high < 1:
        return True
    return always and gain.estimate is not None and gain.estimate * (1 + delta) < 1


def _times_slower(size: Size, log_costs: Sequence[float]) -> float | None:
    """How many times as much it took as its valuations, where chance and delta don't explain it."""
    promised, log = size.learning_costs(), size.run_log
    if not log_costs or not promised:
        return None
    seen = sum(log_costs) / len(log_costs)
    more = seen - sum(map(math.log, promised)) / len(promised)
    sd, degrees = log.scatter_of_fresh_seeds(purposes_apart=True)
    error = sd * math.sqrt(1 / len(log_costs) + 1 / len(promised))
    by_chance = float(stdtrit(degrees, _LEVEL)) * error
    return math.exp(more) if more > max(by_chance, math.log1p(log.question.delta)) else None


# ---- what fresh seeds say

# So many standard errors worse it ends where its other seeds are kept.
_CLEARLY = 1.0


_NOT_KNOWN = Estimate.cannot_tell(Reason.of("nothing_left_for_fresh_seeds"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """What fresh seeds said; nothing where the budget had nothing left for one."""

    batch_size: int  # of what was verified
    head_to_head: HeadToHead | None = None  # the figures seed by seed; None: nothing could be run
    # The recommendation's mean log steps (quality: shortfall), where a run missed the target the
    # steps that it was followed for; None: unknown.
    log_learning_cost: float | None = None
    half_width: float | None = None  # of its 95 % interval, on the log scale; None: not known
    n: int = 0  # runs of the recommendation that have a figure
    missed: int = 0  # runs of the recommendation that missed the target or failed
    gain: Estimate = _NOT_KNOWN  # the reference's figure over the recommendation's
    # The same for the reference batch size at its tuned rate.
    gain_from_batch_size: Estimate = _NOT_KNOWN
    against: Reason | None = None  # what they say against the recommendation; None: nothing
    # The reference that was better on them; None: it is not about one.
    instead: CellKey | None = None
    # How whole trainings end; None: an end was not in question, or none was seen.
    endings: Endings | None = None
    is_cut: bool = False  # it seemed to end worse on the first seeds, and the others were kept

    @property
    def is_settled(self) -> bool:
        """Whether further seeds would hardly change what it says."""
        if self.endings is not None and self.endings.verdict != "no_worse":
            return self.endings.verdict == "worse"
        return self.against is None and not self.missed

    @property
    def is_clearly_worse(self) -> bool:
        """Whether it seems to end worse by more than its seeds scatter."""
        ends = self.endings
        return ends is not None and ends.is_likely_worse(beyond_errors=_CLEARLY)

    def stopped_early(self) -> Verification:
        """The same where the first seeds were all: that it ends worse is not for sure then.

        A training that failed is.
        """
        ends = self.endings
        if ends is None or ends.reason.code == "whole_trainings_failed":
            return self
        size, at, n = ends.recommended.batch_size, ends.recommended.mean, ends.difference.n
        other, other_ends = ends.compared_with.as_reason, ends.compared_with.mean
        why = Reason.of(
            "seems_to_end_worse", size=size, ends=at, other=other, other_ends=other_ends, n=n
        )
        return replace(self, endings=replace(ends, verdict="open", reason=why), is_cut=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Conclusion:
    """How the study ended: with a decision and its verification, or with what stopped it."""

    decision: Decision | None = None  # what the runs support
    verification: Verification | None = None  # what fresh seeds said
    # The batch size that looks fastest, where the budget was too short to follow it to its end.
    not_followed: int | None = None
    # How the one that looks fastest ends, where it only seems to end worse; another was verified.
    passed_over: Endings | None = None
    # The configuration that won a race of single runs, where the budget had none for more.
    raced: CellKey | None = None
    # The one that was soonest in it; `raced` has a lower rate where its own may be too high.
    soonest: CellKey | None = None
    # How many times as long the reference takes as `raced`, by single runs; None: it was not run to
    # the target, or there was no race.
    gain: Estimate | None = None
    reason: Reason | None = None  # what stopped it before a decision

    @property
    def is_fastest(self) -> bool:
        """Whether nothing that looked faster is still open."""
        return self.not_followed is None and self.passed_over is None

    @property
    def endings(self) -> Endings | None:
        """How whole trainings end; None: none were compared."""
        return None if self.verification is None else self.verification.endings


def read(
    state: StudyState, seeds: tuple[int, ...], chosen: CellKey, *, n_looks: int
) -> Verification:
    """What the runs on these seeds say."""
    reference = state.reference_cell
    tuned = state.reference.cell
    figures = {cell: log_figures(state, cell, seeds) for cell in (chosen, reference, tuned) if cell}
    mine = [value for value in figures[chosen].values() if value is not None]
    missing = [seed for seed in seeds if _missed(state, chosen, seed)]
    if mine and state.question.draws_by_seed:  # examples too hard for all of them say nothing
        missing = [s for s in missing if not all(_missed(state, cell, s) for cell in figures)]
    weight = state.sizes[chosen[0]].log_weight
    counted = dict(figures[chosen])
    if missing and state.until is not None:  # quality has no such bound
        followed = math.log(limit_steps(state, chosen)) + weight
        counted |= dict.fromkeys(missing, followed)
    all_mine = [value for value in counted.values() if value is not None]
    sd, degrees = state.scatter_of_fresh_seeds()
    if missing and len(all_mine) > 1:  # misses tell that it is unlike the others
        sd, degrees = max((sd, degrees), pooled_sd([all_mine]))
    quantile = float(stdtrit(degrees, 0.975))
    beside = figures | {chosen: counted}
    gains = {
        other: _gain(state, chosen, other, beside, sd=sd, quantile=quantile) for other in figures
    }
    against, instead = disagreement(
        state,
        chosen,
        [cost - weight for cost in mine],
        missed=len(missing),
        gains=gains,
        lost_to=[other for other in gains if _lost(figures[chosen], figures[other])],
    )
    return Verification(
        batch_size=chosen[0],
        head_to_head=HeadToHead(
            seeds=seeds,
            recommended=_plain(figures[chosen]),
            reference=_plain(figures[reference]),
            reference_tuned=() if tuned is None else _plain(figures[tuned]),
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
        against=against,
        instead=instead,
        endings=endings_of(state, seeds, recommended=chosen, tuned=tuned, n_looks=n_looks),
    )


def _lost(mine: Mapping[int, float | None], theirs: Mapping[int, float | None]) -> bool:
    """Whether another configuration was better on every seed that both have a figure of."""
    pairs = ((own, theirs[seed]) for seed, own in mine.items())
    better = [other < own for own, other in pairs if own is not None and other is not None]
    return bool(better) and all(better)


def _gain(
    state: StudyState,
    chosen: CellKey,
    other: CellKey,
    figures: Mapping[CellKey, Mapping[int, float | None]],
    *,
    sd: float,
    quantile: float,
) -> Estimate:
    """How many times the other's figure is the chosen one's, over the seeds that both ran."""
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
    errors = [_error_of_mean(state, cell, seeds, sd, len(ratios)) for cell in (chosen, other)]
    half = quantile * math.hypot(*errors)
    if chosen[0] != other[0]:  # else both have the same step time, which cancels
        ratio_sd = state.sizes[chosen[0]].option.ratio_sd
        if ratio_sd is None:
            ratio_sd = math.hypot(*(state.sizes[cell[0]].weight_sd for cell in (chosen, other)))
        half = math.hypot(half, quantile * ratio_sd)
    if is_bound:
        why = Reason.of("missed_while_followed")
        return Estimate.cannot_tell(why, low=math.exp(mean - half), n=len(ratios))
    return Estimate.of_log(mean, half, n=len(ratios))


def _error_of_mean(
    state: StudyState, cell: CellKey, seeds: tuple[int, ...], sd: float, n: int
) -> float:
    """The standard error of the mean log figure of n seeds that scatter by `sd`."""
    return max(sd / math.sqrt(n), state.rounding_sd(cell, seeds))


def log_figures(
    state: StudyState, cell: CellKey, seeds: tuple[int, ...]
) -> dict[int, float | None]:
    """The objective's figure, log, by seed; None where the run has none."""
    figures: dict[int, float | None] = {}
    weight = state.sizes[cell[0]].log_weight
    for seed in seeds:
        record = state.records.get((*cell, seed))
        cost = None if record is None else state.learning_cost(record)
        figures[seed] = None if cost is None else math.log(cost) + weight
    return figures


def _bound(state: StudyState, cell: CellKey, seed: int) -> float | None:
    """The figure by which a run that missed the target had not met it; None: it did, or failed."""
    record = state.records.get((*cell, seed))
    if record is None or state.until is None or record.steps == 0:
        return None
    if state.learning_cost(record) is not None or record.has_failed:
        return None
    return math.exp(math.log(record.steps) + state.sizes[cell[0]].log_weight)


def _missed(state: StudyState, cell: CellKey, seed: int) -> bool:
    """Whether a run failed or was followed to its limit in vain; out of time is not in vain."""
    record = state.records.get((*cell, seed))
    if record is None or state.learning_cost(record) is not None:
        return False
    is_over = record.has_failed or record.has_ended_itself
    return is_over or record.steps >= limit_steps(state, cell)


def _plain(figures: Mapping[int, float | None]) -> tuple[float | None, ...]:
    return tuple(None if value is None else math.exp(value) for value in figures.values())


# ---- the runs


# Once begun, the others may take so much more than what is left: none is lost for a hair.
_SLACK = 1.1
_WHY_FRESH = Reason.of("chosen_runs_flatter")


def n_seeds_left(state: StudyState, size: Size) -> int:
    """On how many seeds the budget can follow it to the end, beside the references.

    What takes many epochs to the level needs references that are trained for as many.
    """
    state.reserved_s = 0.0
    cells = compared_with(state, size)
    return len(seeds_that_fit(state, cells, state.seeds.verify[: 2 * N_SEEDS]))


def verify(state: StudyState, size: Size, *, may_stop: bool = True) -> Verification:
    """Run the recommendation, the reference and the tuned reference on fresh seeds, paired.

    Where those speak against the recommendation, or one missed the target, further seeds are asked.
    """
    state.reserved_s = 0.0
    state.time_in_turn(size)
    chosen = size.cell
    assert chosen is not None
    cells = compared_with(state, size)
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
        return Verification(batch_size=size.batch_size)
    found = read(state, first, chosen, n_looks=n_looks)
    if found.is_clearly_worse and len(first) < len(fitting):
        return found.stopped_early()
    if found.is_settled or n_looks == 1:
        return found
    fresh = [seed for seed in state.seeds.verify if seed not in first]
    fitting = seeds_that_fit(state, cells, tuple(fresh[: _n_further(found)]))
    further = _run(state, cells, fitting, why=_why_further(found))
    return read(state, (*first, *further), chosen, n_looks=n_looks)


def _may_give_way(state: StudyState, cells: Sequence[CellKey]) -> bool:
    """Whether another batch size could use what its later seeds cost: the budget has few of them.

    By the seconds, not by the seeds that there are: with more of these it could follow both.
    """
    size = state.sizes[cells[0][0]]
    if state.end is None or size is state.reference or fastest_other(state, size) is None:
        return False
    seeds = state.seeds.verify[: 2 * N_SEEDS]
    all_s = state.usual_s(requests_of(state, cells, seeds)) * 2 * N_SEEDS / len(seeds)
    return all_s > state.left_s()


def _run_in_turn(
    state: StudyState, cells: Sequence[CellKey], seeds: tuple[int, ...]
) -> tuple[int, ...]:
    """Run seed after seed until it seems to end worse; the seeds that were run.

    What the others would cost is kept for the next fastest. To stop early lets nothing pass that
    would not: "no worse" is read off all seeds or not at all.
    """
    # As many at once as there are cores for.
    at_once = max(1, state.engine.n_workers // len(cells))
    done: tuple[int, ...] = ()
    why, slack = _WHY_FRESH, 1.0
    while todo := seeds_that_fit(state, cells, seeds[len(done) :], share=slack):
        now, later = todo[:at_once], todo[at_once : max(at_once, N_SEEDS - len(done))]
        all_s, *parts_s = (
            state.usual_s(requests_of(state, cells, some)) for some in (todo, now, later) if some
        )
        if sum(parts_s) > max(all_s, slack * state.left_s()):
            now = todo  # one after the other, the third would not fit
        slack = _SLACK
        done += _run(state, cells, now, why=why)
        if len(done) < len(seeds) and read(state, done, cells[0], n_looks=1).is_clearly_worse:
            break
        why = Reason.of("not_seen_to_end_worse", size=cells[0][0], n=len(done))
    return done


def _beside(state: StudyState, chosen: CellKey) -> CellKey:
    """The one of the references to compare with, where the budget does not reach for both.

    The tuned one ends better as a rule.
    """
    tuned = state.reference.cell
    if state.end is None or tuned is None or tuned == chosen:
        return state.reference_cell
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
        return found.against
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
        size, n = cells[0][0], len(seeds)
        did = Reason.of("verify_on_fresh_seeds", size=size, n=n)
        if state.end is not None:
            did = Reason.of("verify_to_the_end", size=size, n=n, epochs=state.whole_epochs)
        state.note(did, why)
        # Side by side the longest run first, and the end of the budget cuts what is short: one
        # configuration on all seeds. So the last seed waits for the others.
        n_first = n if state.end is None else max(1, n - 1)
        for some in (seeds[:n_first], seeds[n_first:]):
            state.run(requests_of(state, cells, some, follow), "verify")
    return seeds
