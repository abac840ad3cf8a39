"""Verification: what fresh seeds said of the recommendation and the reference, side by side."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from scipy.special import stdtrit

from batchlab.advice.advice import Ending, Endings, EndingVerdict, HeadToHead
from batchlab.advice.decision import weight_sd
from batchlab.advice.level import EndLevel, last_values, margin_beside
from batchlab.advice.question import Question
from batchlab.advice.rates import learning_cost_of, pooled_sd, rounding_sd, scatter_of_fresh_seeds
from batchlab.advice.run_log import COOL_DOWN, CellKey, Key, steps_to, why_it_failed
from batchlab.advice.study_state import (
    NEARLY_WHOLE,
    StudyState,
    compare_over_whole_trainings,
    whole_steps,
)
from batchlab.laws.plateau import FRACTION_METRICS
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.run import RunRequest
from batchlab.records.trial import TrialRecord

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


def reserve(state: StudyState, *, exploring: bool = False, for_more_seeds: bool = True) -> None:
    """Set aside what the verification is expected to cost, at most a part of the budget.

    Args:
        state: the runs.
        exploring: other batch sizes are yet to be tried.
        for_more_seeds: where it has to be shown that another batch size than the reference's ends
            no worse, set aside a part of the budget even if three seeds cost less.
    """
    reference, budget_s = state.question.reference.batch_size, state.question.budget_s
    best = state.best()
    # Where that is the reference's, the next fastest may turn out to be.
    may_change = state.end is not None and best in (None, reference)
    named = fastest_other(state) if may_change else best
    known = compared_with(state, reference if named is None else named)
    if state.end is not None:
        compare_over_whole_trainings(state, known)
    # A first figure of another batch size tells more than the third seed of the reference alone.
    n_seeds = N_SEEDS - 1 if may_change and named is None else N_SEEDS
    needed_s = _expected_s(state, known, state.seeds.verify[:n_seeds])
    if state.end is None:
        state.run_log.reserved_s = min(needed_s, _RESERVED_AT_MOST * budget_s)
        return
    if for_more_seeds and best not in (None, reference):
        of_all_s = _expected_s(state, known, state.seeds.verify)
        needed_s = max(needed_s, min(of_all_s, _FOR_MORE_SEEDS * budget_s))
    share = _RESERVED_WHILE_EXPLORING if exploring else _RESERVED_FOR_WHOLE
    state.run_log.reserved_s = min(_LATE * needed_s, share * budget_s)


def fastest_other(state: StudyState, batch_size: int | None = None) -> int | None:
    """The fastest of the batch sizes that are neither this one nor the reference's.

    None: no other has a figure.
    """
    others = set(state.that_met_the_target()) - {
        *state.ruled_out,
        state.question.reference.batch_size,
        batch_size,
    }
    costs = {size: cost for size in others if (cost := state.log_cost(size)) is not None}
    return min(costs, key=lambda size: (costs[size], size), default=None)


def more_s_for_seeds(state: StudyState, cells: Sequence[CellKey], *, done: int, n: int) -> float:
    """About how much more budget lets whole trainings on so many fresh seeds fit beside the search.

    Args:
        state: the runs so far.
        cells: the configurations that are trained on each seed.
        done: seeds that need not be run again in this study.
        n: seeds in all.
    """
    run_log = state.run_log
    sizes = [cell[0] for cell in cells]
    seed_s = sum(run_log.run_s(size, whole_steps(state, size)) for size in sizes)
    # The last one may have a core to itself.
    a_seed_s, alone_s = seed_s / run_log.engine.n_workers, seed_s / len(sizes)
    more_s = _LATE * (max(1, n - done) * a_seed_s + alone_s)
    share = _RESERVED_FOR_WHOLE if n <= N_SEEDS + 1 else _FOR_MORE_SEEDS
    # The search takes its part of a larger budget, too.
    needed_s = max(run_log.engine.spent_s() + more_s, _LATE * (n * a_seed_s + alone_s) / share)
    return max(more_s, needed_s - state.question.budget_s)


def reserve_shortly(state: StudyState) -> None:
    """Leave only what it takes to show on a fresh seed that something is better than the reference.

    Without a recommendation there is less to verify, and more to find. Not where it has to be
    shown that it ends no worse: one fresh seed does not show that.
    """
    best, cells = state.best(), [reference_cell(state)]
    if best is not None:
        chosen = state.cell(best)
        cells += [] if chosen is None else [chosen]
    seed = state.seeds.verify[0]
    requests = [request_of(state, cell, seed, FOLLOW_SHORTLY) for cell in dict.fromkeys(cells)]
    least_s = min(state.expected_s(requests), _RESERVED_AT_MOST * state.question.budget_s)
    state.run_log.reserved_s = max(_VERIFIED_AT_LEAST * state.run_log.reserved_s, least_s)


def needed_later(state: StudyState) -> Iterator[RunRequest]:
    """Runs of the verification that are the same whatever is recommended.

    They are begun while a core has nothing else to do, and read when all are verified.
    """
    if state.best() is None and state.end is None:
        yield from _reference_while_tuned(state)
        return
    tuned = state.cell(state.question.reference.batch_size)
    for seed in state.seeds.verify[:N_SEEDS]:
        yield request_of(state, reference_cell(state), seed)
    # A further seed may still move its rate.
    if tuned is not None and state.is_confirmed(tuned[0]):
        for seed in state.seeds.verify[:N_SEEDS]:
            yield request_of(state, tuned, seed)


def seeds_that_fit(
    state: StudyState,
    cells: Sequence[CellKey],
    seeds: tuple[int, ...],
    follow: float = FOLLOW,
    *,
    cool_down: float = 0.0,
    share: float = 1.0,
) -> tuple[int, ...]:
    """As many of the seeds, the first ones, as the budget pays for in all cells.

    Args:
        state: the runs.
        cells: the configurations that are trained on each seed.
        seeds: at most these.
        follow: see `limit_steps`.
        cool_down: the last part of the trainings over which the rate falls to zero.
        share: of what is left of the budget, what they may take.
    """
    left_s = max(0.0, share * state.run_log.left_s())  # what was run already costs nothing
    for n in range(len(seeds), 0, -1):
        # Of three seeds the last training may be cut: two that are whole still tell something.
        may_be_cut = state.end is not None and n == N_SEEDS and not cool_down
        requests = requests_of(state, cells, seeds[:n], follow, cool_down=cool_down)
        if state.expected_s(requests) <= (_MAY_BE_CUT if may_be_cut else 1.0) * left_s:
            return seeds[:n]
    return ()


def requests_of(
    state: StudyState,
    cells: Iterable[CellKey],
    seeds: Sequence[int],
    follow: float = FOLLOW,
    *,
    cool_down: float = 0.0,
) -> list[RunRequest]:
    """The runs of all cells on all seeds, seed by seed."""
    known = list(cells)
    return [
        request_of(state, cell, seed, follow, cool_down=cool_down)
        for seed in seeds
        for cell in known
    ]


def request_of(
    state: StudyState,
    cell: CellKey,
    seed: int,
    follow: float = FOLLOW,
    *,
    cool_down: float = 0.0,
) -> RunRequest:
    """One run: a whole training where an end is in question, else until the target or its limit."""
    return state.run_log.request(
        batch_size=cell[0],
        learning_rate=cell[1],
        seed=seed,
        steps=limit_steps(state, cell, follow),
        whole=state.end is not None,
        cool_down=cool_down,
    )


def limit_steps(state: StudyState, cell: CellKey, follow: float = FOLLOW) -> int:
    """At how many steps a verification run of this cell is cut."""
    if state.run_log.until is None:
        return state.horizon_steps(cell[0])
    if state.end is not None:
        return whole_steps(state, cell[0])
    if cell == state.cell(cell[0]):
        return state.value_limit(cell[0])
    best_cost = state.best_log_cost()
    assert best_cost is not None
    return max(1, math.ceil(follow * math.exp(best_cost - state.log_weight(cell[0]))))


def reference_cell(state: StudyState) -> CellKey:
    """The user's own configuration."""
    reference = state.question.reference
    return reference.batch_size, reference.learning_rate


def compared_with(state: StudyState, batch_size: int) -> list[CellKey]:
    """The batch size at its rate and, each once, the reference as it is and at its tuned rate."""
    tuned = state.cell(state.question.reference.batch_size)
    cells = (state.cell(batch_size), reference_cell(state), tuned)
    return list(dict.fromkeys(cell for cell in cells if cell is not None))


def _expected_s(
    state: StudyState, cells: Sequence[CellKey], seeds: Sequence[int], follow: float = FOLLOW
) -> float:
    return state.expected_s(requests_of(state, cells, seeds, follow))


def _reference_while_tuned(state: StudyState) -> Iterator[RunRequest]:
    """The reference on fresh seeds, while its batch size is tuned; its first run says how far."""
    cell, target = reference_cell(state), state.run_log.until
    if target is None:
        return
    for record in state.run_log.of_cell(cell, "pilot", "tune").values():
        steps = steps_to(record, target)
        if steps:
            for seed in state.seeds.verify[:N_SEEDS]:
                yield state.run_log.request(
                    batch_size=cell[0],
                    learning_rate=cell[1],
                    seed=seed,
                    steps=math.ceil(FOLLOW / 2 * steps),
                )
            return


# Slower than promised by more than chance explains, one time in a hundred.
_LEVEL = 0.99


@dataclass(frozen=True, kw_only=True, slots=True)
class Objection:
    """What fresh seeds say against a recommendation.

    Attributes:
        why: in words.
        instead: the configuration that was better on them; None: it is not about another one.
    """

    why: Reason
    instead: CellKey | None = None


def disagreement(
    state: StudyState,
    cell: CellKey,
    log_costs: Sequence[float],
    *,
    missed: int,
    gains: Mapping[CellKey, Estimate],
    lost_to: Collection[CellKey],
) -> Objection | None:
    """What the fresh seeds say against the recommendation; None: nothing.

    Args:
        state: the runs.
        cell: batch size and rate of the recommendation.
        log_costs: its log learning costs on fresh seeds, of those that have one.
        missed: how many of its fresh seeds missed the target or failed.
        gains: how many times better it is than the reference, as it is and tuned.
        lost_to: of these, the ones that were better on every seed.
    """
    size, n = cell[0], len(log_costs) + missed
    if missed and 2 * missed >= n:
        return Objection(why=Reason.of("missed_on_fresh_seeds", size=size, missed=missed, n=n))
    times = _times_slower(state, cell, log_costs)
    if times is not None:
        return Objection(why=Reason.of("slower_on_fresh_seeds", size=size, times=times, n=n))
    for other, gain in gains.items():
        if other != cell and _is_worse(gain, state.question.delta, always=other in lost_to):
            why = Reason.of(
                "reference_was_better", size=size, other=other[0], rate=other[1], n=gain.n
            )
            return Objection(why=why, instead=other)
    return None


def _is_worse(gain: Estimate, delta: float, *, always: bool) -> bool:
    """For sure, or on every seed and by more than delta in the mean."""
    if gain.high is not None and gain.high < 1:
        return True
    return always and gain.estimate is not None and gain.estimate * (1 + delta) < 1


def _times_slower(state: StudyState, cell: CellKey, log_costs: Sequence[float]) -> float | None:
    """How many times as much it took as its valuations, where chance and delta don't explain it."""
    promised = state.learning_costs(cell[0])
    if not log_costs or not promised:
        return None
    seen = sum(log_costs) / len(log_costs)
    more = seen - sum(map(math.log, promised)) / len(promised)
    sd, degrees = scatter_of_fresh_seeds(state.run_log, purposes_apart=True)
    error = sd * math.sqrt(1 / len(log_costs) + 1 / len(promised))
    by_chance = float(stdtrit(degrees, _LEVEL)) * error
    return math.exp(more) if more > max(by_chance, math.log1p(state.question.delta)) else None


# What ends worse by just the margin passes in so many cases, over all looks at the seeds.
_PASSES = 0.05
_FEWEST = 2
_MAKES_IT_LIKELY = 2.0
# Of the margin: what lies nearer to it is not told apart from it.
_LEAST_FAR = 0.1

Records = Mapping[Key, TrialRecord]


def endings_of(
    state: StudyState,
    seeds: Sequence[int],
    *,
    recommended: CellKey,
    reference: CellKey,
    tuned: CellKey | None,
    n_looks: int,
    constant: Endings | None = None,
) -> Endings | None:
    """How the three end on these seeds.

    Args:
        state: the runs; those of the three were followed for whole trainings.
        seeds: that had no part in the choice; after a race that of the race, for want of others.
        recommended: its batch size and rate.
        reference: the configuration as it is.
        tuned: the reference batch size at its tuned rate; None: it has none.
        n_looks: how often these seeds, or some of them, are looked at: once or twice.
        constant: how they end at a constant rate, where those with a cool-down are asked for; the
            better of the references is then the best of them with and without one.

    Returns:
        None where the end of a training was not seen, or no run of the reference came to it.
    """
    end = state.end
    if end is None:
        return None
    cells = [cell for cell in (recommended, reference, tuned) if cell is not None]
    records = state.run_log.records if constant is None else state.run_log.cooled
    known = {cell: _ending(state, end, cell, seeds, records) for cell in cells}
    mine = known[recommended]
    others = [ending for cell, ending in known.items() if cell != recommended and ending.found]
    if not others and mine.found and not _is_missing(state, records, known, seeds):
        others = [mine]  # nothing else is in question, or nothing else lasts for a training
    if not others:
        return None
    if constant is not None:
        others += [ending for ending in constant.references if ending.found]
    metric, better = state.question.metric, state.question.better
    sign = 1 if better == "higher" else -1
    compared_with = max(others, key=lambda ending: sign * ending.mean)
    margin = margin_beside(compared_with.mean, metric=metric, better=better, otherwise=end.margin)
    errors = _errors(mine, compared_with, known.values(), least=_resolution(state.question))
    apart = None if mine is compared_with else _apart(end, state, known.values())
    difference = _difference(mine, compared_with, errors, sign=sign, upper=1 - _PASSES / n_looks)
    verdict = _verdict(difference, margin)
    reason = _reason(verdict, mine, compared_with, difference, margin)
    failed = _failed(state, records, recommended, seeds)
    if failed:
        verdict = "worse"
        why = why_it_failed(failed[0])
        reason = Reason.of("whole_trainings_failed", size=mine.batch_size, n=len(failed), why=why)
    elif verdict == "no_worse" and _is_missing(state, records, known, seeds):
        verdict, reason = "open", Reason.of("whole_trainings_not_seen")
    return Endings(
        metric=metric,
        better=better,
        seeds=tuple(seeds),
        recommended=mine,
        reference=known[reference],
        reference_tuned=None if tuned is None else known[tuned],
        compared_with=compared_with,
        difference=difference,
        standard_error=max((error for error, _ in errors), default=apart),
        margin=margin,
        verdict=verdict,
        reason=reason,
        at_constant_rate=constant,
    )


def seeds_to_tell(endings: Endings) -> int | None:
    """About how many seeds settle what these leave open; None: their scatter is not known.

    The interval shrinks with the root of the seeds; it has to leave the margin to one side, and
    twice as many make that likely.
    """
    value, low = endings.difference.estimate, endings.difference.low
    if value is None or low is None:
        return None
    far = max(abs(value + endings.margin), _LEAST_FAR * endings.margin)
    return math.ceil(_MAKES_IT_LIKELY * endings.difference.n * ((value - low) / far) ** 2)


def _ending(
    state: StudyState, end: EndLevel, cell: CellKey, seeds: Sequence[int], records: Records
) -> Ending:
    size, rate = cell
    plan, steps = state.run_log.plan(size), whole_steps(state, size)
    values: list[float | None] = []
    test: list[float | None] = []
    for seed in seeds:
        record = records.get((*cell, seed))
        if record is None or not _is_whole(state, record):
            values.append(None)
            test.append(None)
            continue
        # Beside a slower one it may have been trained longer: it counts as far as these go.
        overfits = end.ended_by == "overfitting"
        last = last_values(state.question, record, overfits=overfits, steps=steps)
        values.append(math.fsum(last) / len(last) if last else None)
        is_longer = record.steps > steps
        test.append(None if is_longer else record.final("test", state.question.metric))
    return Ending(
        batch_size=size,
        learning_rate=rate,
        epochs=plan.epoch_at(steps),
        values=tuple(values),
        test=tuple(test),
        cool_down=COOL_DOWN if records is state.run_log.cooled else 0.0,
    )


def _is_whole(state: StudyState, record: TrialRecord) -> bool:
    """Whether a training came to its end; a recorded one ends at its last evaluation before it."""
    steps = whole_steps(state, record.trial.batch_size)
    if record.trial.cool_down and record.trial.horizon_steps != steps:
        return False  # its rate fell elsewhere
    is_long = record.has_ended_itself or record.steps >= NEARLY_WHOLE * steps
    return record.steps > steps or (record.ended_well and is_long)


def _failed(
    state: StudyState, records: Records, cell: CellKey, seeds: Sequence[int]
) -> list[TrialRecord]:
    """Those that failed before the end; what one does that goes on is not compared."""
    found = (records.get((*cell, seed)) for seed in seeds)
    last = whole_steps(state, cell[0])
    return [each for each in found if each is not None and each.has_failed and each.steps <= last]


def _is_missing(
    state: StudyState, records: Records, known: Mapping[CellKey, Ending], seeds: Sequence[int]
) -> bool:
    """Whether one of the references has no end, and not because its trainings fail."""
    return any(
        not ending.found and not _failed(state, records, cell, seeds)
        for cell, ending in known.items()
    )


def _variance(ending: Ending) -> float:
    squares = math.fsum((value - ending.mean) ** 2 for value in ending.found)
    return squares / (len(ending.found) - 1)


def _difference(
    mine: Ending, other: Ending, errors: Sequence[tuple[float, float]], *, sign: int, upper: float
) -> Estimate:
    """How much better it ends; `upper` is the probability below each end of its interval."""
    n = min(len(mine.found), len(other.found))
    if mine is other:
        return Estimate.of(0.0, interval=(0.0, 0.0), n=n)
    if not n:
        return Estimate.cannot_tell(Reason.of("no_whole_training"), n=0)
    value = sign * (mine.mean - other.mean)
    if not errors:
        return Estimate.of(value, interval=(None, None), n=n)
    half = max(float(stdtrit(degrees, upper)) * error for error, degrees in errors)
    return Estimate.of(value, interval=(value - half, value + half), n=n)


def _resolution(question: Question) -> float:
    """The variance that a metric has because it counts examples; 0 where it does not.

    Seeds that end on the same count have not shown that they do not scatter.
    """
    if question.metric not in FRACTION_METRICS or not question.n_validation:
        return 0.0
    return (1 / question.n_validation) ** 2 / 12


def _errors(
    mine: Ending, other: Ending, known: Iterable[Ending], *, least: float = 0.0
) -> list[tuple[float, float]]:
    """Standard errors of their difference with degrees of freedom; none of a single seed.

    One if all scatter alike: the variances of all are pooled. And one if the two scatter as they
    do, for a rate that is too high scatters more (Welch 1947, Biometrika 34(1/2)). No variance of
    a training is below `least`.
    """
    if mine is other or min(len(mine.found), len(other.found)) < _FEWEST:
        return []
    several = [ending for ending in known if len(ending.found) > 1]
    degrees = sum(len(ending.found) - 1 for ending in several)
    pooled = max(least, sum((len(e.found) - 1) * _variance(e) for e in several) / degrees)
    alike = math.sqrt(pooled * (1 / len(mine.found) + 1 / len(other.found)))
    parts = [max(least, _variance(ending)) / len(ending.found) for ending in (mine, other)]
    if not any(parts):
        return [(alike, degrees)]
    below = [part**2 / (len(e.found) - 1) for part, e in zip(parts, (mine, other), strict=True)]
    return [(alike, degrees), (math.sqrt(sum(parts)), sum(parts) ** 2 / sum(below))]


def _apart(end: EndLevel, state: StudyState, known: Iterable[Ending]) -> float | None:
    """How far from the end that set the level a fresh training of the same configuration ends.

    Where two pilots set it, that is the worse of them.
    """
    size, rate = state.question.reference.batch_size, end.learning_rate
    again = [
        ending.found[0]
        for ending in known
        if ending.batch_size == size and math.isclose(ending.learning_rate, rate) and ending.found
    ]
    return abs(again[0] - end.value) if again else None


def _verdict(difference: Estimate, margin: float) -> EndingVerdict:
    """Shown to be no worse, shown to be worse, or open."""
    if difference.low is not None and difference.low >= -margin:
        return "no_worse"
    if difference.high is not None and difference.high < -margin:
        return "worse"
    return "open"


def _reason(
    verdict: EndingVerdict, mine: Ending, other: Ending, difference: Estimate, margin: float
) -> Reason:
    if difference.low is None:
        return Reason.of("ending_seen_once", size=mine.batch_size)
    beside = other.as_reason
    size, ends, other_ends = mine.batch_size, mine.mean, other.mean
    if verdict == "no_worse":
        return Reason.of("ends_no_worse", size=size, ends=ends, other=beside, other_ends=other_ends)
    if verdict == "worse":
        return Reason.of("ends_worse", size=size, ends=ends, other=beside, other_ends=other_ends)
    return Reason.of(
        "ending_open",
        size=size,
        ends=ends,
        other=beside,
        other_ends=other_ends,
        n=difference.n,
        worse=-difference.low,
        margin=margin,
    )


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


# Of what is left, where it ends worse for sure: if that mends nothing, the next fastest wants to be
# shown to end no worse.
_AT_MOST = 1 / 2


def with_cool_down(state: StudyState, constant: Endings) -> Endings:
    """How the same configurations end with a cool-down, where that mends what ends worse without.

    Args:
        state: the runs.
        constant: how they end at a constant rate; the recommendation ends worse, for sure or as far
            as can be seen.

    Returns:
        The ends with a cool-down, no worse than the best of the references with and without one.
        Else `constant`: with the reason, where it was tried; as it is where it was not: a training
        failed, such a training takes longer than a reference does to the level, the workload has a
        schedule of its own, the engine cannot, or the budget does not reach for it.
    """
    recommended = constant.recommended.cell
    has_failed = len(constant.recommended.found) < len(constant.seeds)
    if has_failed or not _may_cool(state, recommended) or not _is_sooner(state, constant):
        return constant
    cells = [recommended, *(ending.cell for ending in constant.references)]
    share = _AT_MOST if constant.verdict == "worse" else 1.0
    seeds = seeds_that_fit(state, cells, constant.seeds, cool_down=COOL_DOWN, share=share)
    if len(seeds) < min(N_SEEDS, len(constant.seeds)):
        return constant
    epochs = state.whole_epochs
    did = Reason.of("try_cool_down", size=recommended[0], n=len(seeds), epochs=epochs)
    state.run_log.note(did, constant.reason)
    state.run_log.run(requests_of(state, cells, seeds, cool_down=COOL_DOWN), "cool_down")
    tuned = constant.reference_tuned
    found = endings_of(
        state,
        seeds,
        recommended=recommended,
        reference=constant.reference.cell,
        tuned=None if tuned is None else tuned.cell,
        n_looks=1,
        constant=constant,
    )
    if found is not None and found.verdict == "no_worse":
        return found
    if constant.verdict == "open":
        return constant
    return replace(constant, reason=Reason.of("cool_down_mends_nothing", why=constant.reason))


def _is_sooner(state: StudyState, constant: Endings) -> bool:
    """Whether a whole training costs less than the faster of the references to the level.

    With a cool-down the level is met at the end of the training, not on the way.
    """
    size = constant.recommended.batch_size
    whole = math.log(whole_steps(state, size)) + state.log_weight(size)
    figures = (log_figures(state, each.cell, constant.seeds) for each in constant.references)
    return all(cost is None or whole < cost for cost in map(mean_of_all, figures))


def _may_cool(state: StudyState, cell: CellKey) -> bool:
    engine = state.run_log.engine
    trial = engine.trial(batch_size=cell[0], learning_rate=cell[1], seed=state.seeds.verify[0])
    return engine.capabilities.cools_down and trial.horizon_steps is None
