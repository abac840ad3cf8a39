"""The usual sizes: how good the batch sizes that people take without measuring are here."""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.advice.advice import Advice, Candidate
from batchlab.records.study import USUAL_SIZES
from batchlab.report.advice_words import Told, near_text, objective_words, ratio_text
from batchlab.report.text import ClaimVerdict, Sentence, with_a_capital
from batchlab.words.catalogue import listing, plural, text


def usual_sizes(told: Told) -> Sentence | None:
    """How good the sizes that people take without measuring are here, each tuned."""
    advice = told.advice
    valued = [c for c in advice.candidates if c.batch_size in USUAL_SIZES]
    limit = 1 + advice.delta
    good = [c for c in valued if c.in_flat_set]
    others = [c for c in valued if c not in good]
    worse = [(c, low) for c in others if (low := _at_least(advice, c)) > limit]
    if not worse and all(c.relative.estimate is None for c in valued):
        return None
    settled = [*good, *(c for c, _ in worse)]
    open_ones = [c for c in valued if c not in settled]
    if not settled:
        said = text(
            "It is open whether any of the usual {sizes} is near the best.",
            sizes=_sizes(open_ones),
        )
        return Sentence(topic="usual sizes", text=said, verdict="cannot_tell")
    parts = []
    if good:
        parts.append(_of_sizes("{sizes} is {near}", "{sizes} are {near}", good, near_text(advice)))
    if worse:
        parts.append(_of_worse(advice, worse))
    if open_ones:
        parts.append(_of_sizes("{sizes} is still open", "{sizes} are still open", open_ones))
    parts += _untrained(valued, [candidate for candidate, _ in worse])
    verdict: ClaimVerdict = "held" if good else "did_not_hold" if not open_ones else "cannot_tell"
    start, *rest = parts
    each = text(
        "Each usual size at its tuned rate: {parts}.",
        parts=". ".join([start, *map(with_a_capital, rest)]),
    )
    return Sentence(topic="usual sizes", text=each, verdict=verdict)


def _at_least(advice: Advice, candidate: Candidate) -> float:
    """How many times the best's figure it is at least; 0.0: that is not known.

    Of the reference batch size fresh seeds say more: what is worse than the recommendation is
    worse than the best by no less.
    """
    low = candidate.relative.low or 0.0
    if candidate.batch_size == advice.reference.batch_size:
        low = max(low, advice.gain_from_batch_size.low or 0.0)
    return low


def _of_worse(advice: Advice, worse: list[tuple[Candidate, float]]) -> str:
    at_least = text("at least {ratios}", ratios=listing([ratio_text(low) for _, low in worse]))
    return text(
        "with {sizes} it {takes} as with the best",
        sizes=_sizes([candidate for candidate, _ in worse]),
        takes=objective_words(advice).takes_text(at_least),
    )


def _untrained(valued: list[Candidate], worse: list[Candidate]) -> Iterator[str]:
    """Where what is known of a usual size comes from, if it was not trained itself."""
    untrained = [c for c in valued if c.learning_rate is None]
    off_the_curve = [c for c in untrained if c.relative.estimate is not None]
    if off_the_curve:
        yield _of_sizes(
            "{sizes} was not trained: this is read off the fitted curve",
            "{sizes} were not trained: this is read off the fitted curve",
            off_the_curve,
        )
    bounded = [c for c in worse if c in untrained and c not in off_the_curve]
    if bounded:
        yield _of_sizes(
            "no run of {sizes} met the target, so only this bound is known",
            "no run of {sizes} met the target, so only these bounds are known",
            bounded,
        )


def _sizes(candidates: list[Candidate]) -> str:
    return listing([str(candidate.batch_size) for candidate in candidates])


def _of_sizes(singular: str, several: str, candidates: list[Candidate], near: str = "") -> str:
    return plural(singular, several, len(candidates), sizes=_sizes(candidates), near=near)
