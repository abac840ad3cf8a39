"""The answer of an advice in sentences: what to set, why, when to stop, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Iterator

from batchlab.advice.advice import Advice, TargetAnswer
from batchlab.report.advice_commands import follow_up
from batchlab.report.advice_rows import is_raced
from batchlab.report.advice_words import (
    Told,
    is_same,
    near_text,
    ratio_text,
    reference_words,
    set_this,
    target_text,
)
from batchlab.report.text import Sentence, clause, interval_text, whole_sentence, with_a_capital
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


# What is nearer to 1 than this is called the same: step times are known to a few per cent.
_SAME = 1.05


def why(told: Told) -> Sentence | None:
    """Steps and step time beside the configuration as it is."""
    said = why_in_numbers(told.advice)
    return None if said is None else Sentence(topic="why", text=said)


def why_in_numbers(advice: Advice) -> str | None:
    """The same in words; None: not known, or the time is not surely less.

    The time to the target is steps times step time, so the ratio of the steps is that of the times
    times that of the step times.
    """
    found = advice.recommendation
    is_faster = advice.gain.low is not None and advice.gain.low > 1
    if found is None or found.cool_down or advice.objective != "time" or not is_faster:
        return None
    times_longer, gain = _step_time_ratio(advice), advice.gain.estimate
    if times_longer is None or gain is None:
        return None
    times_larger = found.batch_size / advice.reference.batch_size
    return text(
        "{batch}{rate} needs {steps}{each}.",
        batch=_compared(
            times_larger,
            same="The same batch size",
            more="A batch {times} times as large",
            less="A batch {times} times smaller",
            near=1.0,
        ),
        rate=_compared(
            found.learning_rate / advice.reference.learning_rate,
            same=" at the same learning rate",
            more=" with {times} times the learning rate",
            less=" with a learning rate {times} times smaller",
        ),
        steps=_compared(
            gain * times_longer,
            same="as many steps",
            more="{times} times fewer steps",
            less="{times} times as many steps",
        ),
        each="" if times_larger == 1 else _each(times_longer, gain * times_longer),
    )


def _step_time_ratio(advice: Advice) -> float | None:
    """How many times as long a step of the recommendation takes."""
    found, reference = advice.recommendation, advice.candidate(advice.reference.batch_size)
    own = None if found is None else advice.candidate(found.batch_size)
    if own is None or reference is None:
        return None
    if own.step_s.estimate is None or reference.step_s.estimate is None:
        return None
    return own.step_s.estimate / reference.step_s.estimate


def _compared(times: float, *, same: str, more: str, less: str, near: float = _SAME) -> str:
    """Whether there is as much, so many times more, or so many times less."""
    if times == 1 or 1 / near < times < near:
        return text(same)
    return text(more if times > 1 else less, times=ratio_text(max(times, 1 / times)))


def _each(times_longer: float, times_fewer: float) -> str:
    faster = ", but each step is {times} times faster"
    if times_fewer > 1:
        faster = ", and each step is {times} times faster"
    return _compared(
        times_longer,
        same=", and each step takes as long",
        more=", and each step takes only {times} times as long",
        less=faster,
    )


def when_to_stop(told: Told) -> Sentence | None:
    """When a training run with the recommendation is done."""
    advice = told.advice
    if advice.recommendation is None:
        return None
    if advice.recommendation.cool_down:
        return Sentence(topic="when to stop", text=_when_cooled_down(told))
    epochs = _expected_epochs(advice)
    if advice.target is None:
        if not epochs:
            return None
        said = text("After {epochs}: the length of the run is fixed.", epochs=epochs)
    elif epochs:
        said = text("At {target}, expected after {epochs}.", target=told.target, epochs=epochs)
    else:
        said = text("At {target}.", target=told.target)
    return Sentence(topic="when to stop", text=" ".join([said, *_origin(advice)]))


def _expected_epochs(advice: Advice) -> str:
    """How many epochs the recommendation is expected to take; empty: not known."""
    known = None if advice.expected is None else advice.expected.epochs_to_target
    if known is None or known.estimate is None:
        return ""
    epochs = text("{epochs:epochs_to_target} epochs", epochs=known.estimate)
    interval = interval_text("epochs_to_target", known)
    return f"{epochs} ({interval})" if interval else epochs


def _when_cooled_down(told: Told) -> str:
    """The rate of such a training has fallen to zero when it ends, so its length is fixed."""
    endings, epochs = told.advice.endings, _expected_epochs(told.advice)
    assert endings is not None
    after = text(
        "After {epochs:.3g} epochs, when the rate has fallen to zero.",
        epochs=endings.recommended.epochs,
    )
    if not epochs:
        return after
    return text(
        "{after} {target} is expected after {epochs}.",
        after=after,
        target=with_a_capital(told.target),
        epochs=epochs,
    )


def _origin(advice: Advice) -> Iterator[str]:
    """Where the target comes from, where the user did not give it."""
    if advice.target is None:
        return
    if advice.target_origin == "pilot":
        yield text(
            "That is slightly easier than what {configuration} ends with.",
            configuration=reference_words(advice).configuration,
        )
    if advice.target_origin == "easier":
        yield text("The target is an easier one: the budget did not reach for the plateau.")


def other_targets(told: Told) -> Sentence | None:
    """Whether the answer would be another at an easier or a harder target."""
    parts = [_at_other(told.advice, other) for other in told.advice.other_targets]
    if not parts:
        return None
    return Sentence(topic="other targets", text=" ".join(parts))


def _at_other(advice: Advice, other: TargetAnswer) -> str:
    at = text(
        "At the {which:term} target ({target})",
        which=other.which,
        target=target_text(other.target),
    )
    if other.verdict == "cannot_tell" or other.batch_size is None:
        return text("{at} the answer is open: {why}.", at=at, why=clause(other.reason))
    if other.verdict == "indifferent":
        return text("{at} the batch size does not matter.", at=at)
    kept = _keeps(advice, other.batch_size)
    return text(
        "{at} the answer is batch size {size}{kept}.", at=at, size=other.batch_size, kept=kept
    )


def _keeps(advice: Advice, batch_size: int) -> str:
    if advice.recommendation is None:
        return ""
    if advice.recommendation.batch_size == batch_size:
        return text(" as well")
    if batch_size in advice.flat_set:
        return text(", which is as good here")
    return text(": it depends on the target")
