"""Endings: whether whole trainings are shown to end no worse than the reference's, or worse."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import variance

from scipy.special import stdtrit

from batchlab.advice.advice import Ending, Endings, EndingVerdict, EndLevel, Question, RateTried
from batchlab.advice.carried_over import pooled_sd
from batchlab.advice.level import last_values, margin_beside
from batchlab.advice.run_log import CellKey, is_whole, why_it_failed
from batchlab.advice.study_state import StudyState
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.trial import TrialRecord

# What ends worse by just the margin passes in so many cases, over all looks at the seeds.
_PASSES = 0.05
_FEWEST = 2
_MAKES_IT_LIKELY = 2.0
# Of the margin: what lies nearer to it is not told apart from it.
_LEAST_FAR = 0.1


def endings_of(
    state: StudyState,
    seeds: Sequence[int],
    *,
    recommended: CellKey,
    tuned: CellKey | None = None,
    n_looks: int = 1,
) -> Endings | None:
    """Return how these and the user's own configuration end on these seeds.

    None where the end of a training was not seen, or no run of the reference came to it.
    """
    end = state.end
    if end is None:
        return None
    reference = state.reference_cell
    cells = [cell for cell in (recommended, reference, tuned) if cell is not None]
    known = {cell: _ending(state, end, cell, seeds) for cell in cells}
    mine = known[recommended]
    others = [ending for cell, ending in known.items() if cell != recommended and ending.found]
    if not others and mine.found and not _is_missing(state, known, seeds):
        others = [mine]  # nothing else is in question, or nothing else lasts for a training
    if not others:
        return None
    metric, better, sign = state.question.metric, state.question.better, state.question.sign
    compared_with = max(others, key=lambda ending: sign * ending.mean)
    margin = margin_beside(compared_with.mean, metric=metric, better=better, otherwise=end.margin)
    apart = None if mine is compared_with else _apart(end, state, known.values())
    upper = 1 - _PASSES / n_looks
    difference, errors = _beside(state.question, mine, compared_with, known.values(), upper=upper)
    verdict = _verdict(difference, margin)
    reason = _reason(verdict, mine, compared_with, difference, margin)
    own, than_own = known[reference], None
    if own.found:
        than_own, _ = _beside(state.question, mine, own, known.values(), upper=upper)
    failed = _failed(state, recommended, seeds)
    if failed:
        verdict = "worse"
        why = why_it_failed(failed[0])
        reason = Reason.of("whole_trainings_failed", size=mine.batch_size, n=len(failed), why=why)
    elif verdict == "no_worse" and _is_missing(state, known, seeds):
        verdict, reason = "open", Reason.of("whole_trainings_not_seen")
    return Endings(
        metric=metric,
        better=better,
        seeds=tuple(seeds),
        recommended=mine,
        reference=own,
        reference_tuned=None if tuned is None else known[tuned],
        compared_with=compared_with,
        difference=difference,
        standard_error=max((error for error, _ in errors), default=apart),
        margin=margin,
        verdict=verdict,
        reason=reason,
        than_own=than_own,
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


def _ending(state: StudyState, end: EndLevel, cell: CellKey, seeds: Sequence[int]) -> Ending:
    size, rate = cell
    trained = state.sizes[size]
    ends = [_end(state, end, state.records.get((*cell, seed))) for seed in seeds]
    return Ending(
        batch_size=size,
        learning_rate=rate,
        epochs=trained.plan.epoch_at(trained.whole_steps),
        values=tuple(value for value, _ in ends),
        test=tuple(of_test for _, of_test in ends),
    )


def _end(
    state: StudyState, end: EndLevel, record: TrialRecord | None
) -> tuple[float | None, float | None]:
    """What a training ends with on validation and on test data; None, None: it has no end."""
    if record is None or not is_trained_whole(state, record):
        return None, None
    # Beside a slower one it may have been trained longer: it counts as far as these go.
    steps = state.sizes[record.trial.batch_size].whole_steps
    overfits = end.ended_by == "overfitting"
    last = last_values(state.question, record, overfits=overfits, steps=steps)
    of_test = None if record.steps > steps else record.final("test", state.question.metric)
    return math.fsum(last) / len(last) if last else None, of_test


def with_end(state: StudyState, run: RateTried) -> RateTried:
    """The run with what it ends with, where a whole training was asked for.

    Of runs to the target those that miss it go on the longest: their ends say too little good.
    """
    key = (run.batch_size, run.learning_rate, run.seed)
    if state.end is None or key not in state.asked_whole:
        return run
    record = state.records[key]
    end, of_test = (None, None) if record.has_failed else _end(state, state.end, record)
    return replace(run, end=end, end_test=of_test)


def is_trained_whole(state: StudyState, record: TrialRecord) -> bool:
    """Whether a training came to its end; a recorded one ends at its last evaluation before it."""
    steps = state.sizes[record.trial.batch_size].whole_steps
    return record.steps > steps or (record.ended_well and is_whole(record, steps))


def _failed(state: StudyState, cell: CellKey, seeds: Sequence[int]) -> list[TrialRecord]:
    """Those that failed before the end; what one does that goes on is not compared."""
    found = (state.records.get((*cell, seed)) for seed in seeds)
    last = state.sizes[cell[0]].whole_steps
    return [each for each in found if each is not None and each.has_failed and each.steps <= last]


def _is_missing(state: StudyState, known: Mapping[CellKey, Ending], seeds: Sequence[int]) -> bool:
    """Whether one of the references has no end, and not because its trainings fail."""
    return any(
        not ending.found and not _failed(state, cell, seeds) for cell, ending in known.items()
    )


def _beside(
    question: Question, mine: Ending, other: Ending, known: Iterable[Ending], *, upper: float
) -> tuple[Estimate, list[tuple[float, float]]]:
    """How much better it ends, and the standard errors of that.

    Where each seed draws its examples, seed by seed: how hard these are is in both ends. `upper` is
    the probability below each end of the interval.
    """
    if mine is other:
        return Estimate.of(0.0, interval=(0.0, 0.0), n=len(mine.found)), []
    # Seeds that end on the same count of examples have not shown that they do not scatter.
    least = question.one_example**2 / 12
    errors = _errors(mine, other, known, least=least)
    if question.draws_by_seed:
        pairs = [pair for pair in zip(mine.values, other.values, strict=True) if None not in pair]
        mine, other = (
            replace(ending, values=tuple(pair[place] for pair in pairs))
            for place, ending in enumerate((mine, other))
        )
        n = len(pairs)
        apart = [a - b for a, b in zip(mine.found, other.found, strict=True)]
        errors = [(math.sqrt(max(2 * least, variance(apart)) / n), n - 1)] if n >= _FEWEST else []
    n = min(len(mine.found), len(other.found))
    if not n:
        return Estimate.cannot_tell(Reason.of("no_whole_training"), n=0), errors
    value = question.sign * (mine.mean - other.mean)
    if not errors:
        return Estimate.of(value, n=n), errors
    half = max(float(stdtrit(degrees, upper)) * error for error, degrees in errors)
    return Estimate.of(value, interval=(value - half, value + half), n=n), errors


def _errors(
    mine: Ending, other: Ending, known: Iterable[Ending], *, least: float
) -> list[tuple[float, float]]:
    """Standard errors of their difference with degrees of freedom; none of a single seed.

    One if all scatter alike: the variances of all are pooled. And one if the two scatter as they
    do, for a rate that is too high scatters more (Welch 1947, Biometrika 34(1/2)). No variance of
    a training is below `least`.
    """
    if min(len(mine.found), len(other.found)) < _FEWEST:
        return []
    sd, degrees = pooled_sd(ending.found for ending in known if len(ending.found) > 1)
    alike = math.sqrt(max(least, sd**2) * (1 / len(mine.found) + 1 / len(other.found)))
    parts = [max(least, variance(each.found)) / len(each.found) for each in (mine, other)]
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
    by, n, low = other.as_reason, difference.n, difference.low
    size, rate, ends, at = mine.batch_size, mine.learning_rate, mine.mean, other.mean
    if verdict == "no_worse":
        return Reason.of("ends_no_worse", size=size, ends=ends, other=by, other_ends=at)
    if verdict == "worse":
        return Reason.of("ends_worse", size=size, rate=rate, ends=ends, other=by, other_ends=at)
    return Reason.of(
        "ending_open", size=size, ends=ends, other=by, other_ends=at, n=n, worse=-low, margin=margin
    )
