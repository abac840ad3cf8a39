"""The answer, why it is so, and what would settle it where it is open."""

from __future__ import annotations

import math

from batchlab.advice.advice import Advice
from batchlab.report.advice_commands import follow_up
from batchlab.report.advice_rows import is_raced
from batchlab.report.advice_words import Told, is_same, near_text, set_this, target_text
from batchlab.report.text import Sentence, clause, whole_sentence, with_a_capital
from batchlab.words.catalogue import listing, text
from batchlab.words.numbers import english_number


def answer(told: Told) -> Sentence:
    """The verdict in one sentence; where it is open, what is best so far."""
    advice, found = told.advice, told.advice.recommendation
    if advice.verdict == "cannot_tell" or found is None:
        said = _best_so_far(told) if advice.provisional else told.open_question
        return Sentence(topic="answer", text=said, verdict="cannot_tell")
    if advice.verdict == "better":
        return Sentence(topic="answer", text=with_a_capital(told.better))
    if advice.verdict != "indifferent":
        return Sentence(topic="answer", text=with_a_capital(told.recommended))
    any_of_these = text(
        "The batch size hardly matters here: {between}. {set_this}. It takes the least memory.",
        between=_between(advice),
        set_this=with_a_capital(set_this(found, advice.reference)),
    )
    return Sentence(topic="answer", text=any_of_these)


def _best_so_far(told: Told) -> str:
    """What to set for now."""
    found, endings = told.advice.provisional, told.advice.endings
    assert found is not None
    best = "Best so far: batch size {size} with learning rate {rate:rate} (not yet certain)."
    if is_same(found, told.advice.reference):
        best = (
            "For now keep batch size {size} and learning rate {rate:rate}: nothing else that was "
            "tried is known to be better."
        )
    elif is_raced(told.advice):
        best = (
            "Best so far: batch size {size} with learning rate {rate:rate} (not yet certain, from "
            "a few single runs)."
        )
    elif endings is not None and endings.is_likely_worse():
        best = (
            "Best so far: batch size {size} with learning rate {rate:rate} (not yet certain). "
            "What is faster seems to end worse."
        )
    elif endings is not None and not endings.recommended.found:
        best = (
            "Best so far: batch size {size} with learning rate {rate:rate} (not yet certain). "
            "Others may be faster, but were not trained to the end."
        )
    return text(best, size=found.batch_size, rate=found.learning_rate)


def how_sure(told: Told) -> Sentence | None:
    """Why the verdict is what it is; of an open one first that it is open."""
    advice = told.advice
    reason = whole_sentence(advice.reason)
    if advice.verdict == "cannot_tell" and advice.provisional:
        reason = " ".join(part for part in (told.open_question, reason) if part)
    return Sentence(topic="how sure", text=reason) if reason else None


def missing(told: Told) -> Sentence | None:
    """What was missing for an answer, and about how much more would settle it."""
    advice = told.advice
    if advice.verdict not in ("better", "cannot_tell"):
        return None
    parts: list[str] = []
    options: dict[str, str] = {}
    # The reason is in the answer: what it says is not said again.
    if advice.missing is not None and not advice.reason.quotes(advice.missing):
        parts.append(text("Missing: {missing}.", missing=clause(advice.missing)))
    if advice.more_budget_s is not None:
        parts.append(
            text("About {more_s:about_seconds} more may settle it.", more_s=advice.more_budget_s)
        )
        options |= _with_more(advice, advice.more_budget_s)
    if advice.proposed_target is not None and advice.proposed_target != advice.target:
        target = advice.proposed_target
        parts.append(text("The runs did get as far as {target}.", target=target_text(target)))
        options["--target"] = f"{target.metric}={target.value:.6g}"
    if not parts:
        return None
    return Sentence(
        topic="what would settle it",
        text=" ".join(parts),
        command=follow_up(told.study.command, options) if options else "",
    )


def flat_set(told: Told) -> Sentence | None:
    """Which batch sizes do about as well."""
    advice = told.advice
    if not advice.flat_set:
        return None
    near = near_text(advice)
    if len(advice.flat_set) == 1:
        fine = text("No other batch size is proven to be {near} (95 %).", near=near)
    else:
        fine = text(
            "Batch sizes {sizes} are {near} (95 %, for all of them together).",
            sizes=listing([str(batch_size) for batch_size in advice.flat_set]),
            near=near,
        )
    return Sentence(topic="also fine", text=fine)


def _between(advice: Advice) -> str:
    near = near_text(advice)
    if not advice.flat_set:
        return text("all are {near}", near=near)
    low, high = advice.flat_set[0], advice.flat_set[-1]
    return text("{low} to {high} are all {near}", low=low, high=high, near=near)


def _with_more(advice: Advice, more_s: float) -> dict[str, str]:
    """The budget that may settle it, as the one that was given was written."""
    if advice.trainings is None:
        return {"--budget": _flag(advice.budget_s + more_s)}
    times = 1 + more_s / advice.budget_s
    return {"--trainings": str(math.ceil(advice.trainings * times))}


def _flag(value_s: float) -> str:
    """A time as --budget takes it: whole seconds, minutes or hours."""
    number, unit = english_number(value_s, "train_s").split()
    letter = {"s": "s", "min": "m", "h": "h"}.get(unit)
    return f"{-(-float(number) // 1):.0f}{letter}" if letter else "1s"
