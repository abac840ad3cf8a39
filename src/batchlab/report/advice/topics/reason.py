"""Why the recommendation is faster: how many steps it takes, and how long each one is."""

from __future__ import annotations

from batchlab.advice.advice import Advice
from batchlab.report.advice_words import Told, ratio_text
from batchlab.report.text import Sentence
from batchlab.words.catalogue import text

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
        batch=_batch(times_larger),
        rate=_rate(found.learning_rate / advice.reference.learning_rate),
        steps=_steps(gain * times_longer),
        each="" if times_larger == 1 else _each(times_longer, gain * times_longer),
    )


def _step_time_ratio(advice: Advice) -> float | None:
    """How many times as long a step of the recommendation takes."""
    found = advice.recommendation
    assert found is not None
    own, reference = (
        advice.candidate(found.batch_size),
        advice.candidate(advice.reference.batch_size),
    )
    if own is None or reference is None:
        return None
    if own.step_s.estimate is None or reference.step_s.estimate is None:
        return None
    return own.step_s.estimate / reference.step_s.estimate


def _batch(times: float) -> str:
    if times == 1:
        return text("The same batch size")
    if times > 1:
        return text("A batch {times} times as large", times=ratio_text(times))
    return text("A batch {times} times smaller", times=ratio_text(1 / times))


def _rate(times: float) -> str:
    if 1 / _SAME < times < _SAME:
        return text(" at the same learning rate")
    if times > 1:
        return text(" with {times} times the learning rate", times=ratio_text(times))
    return text(" with a learning rate {times} times smaller", times=ratio_text(1 / times))


def _steps(times_fewer: float) -> str:
    if 1 / _SAME < times_fewer < _SAME:
        return text("as many steps")
    if times_fewer > 1:
        return text("{times} times fewer steps", times=ratio_text(times_fewer))
    return text("{times} times as many steps", times=ratio_text(1 / times_fewer))


def _each(times_longer: float, times_fewer: float) -> str:
    if 1 / _SAME < times_longer < _SAME:
        return text(", and each step takes as long")
    if times_longer < 1:
        faster = ratio_text(1 / times_longer)
        if times_fewer > 1:
            return text(", and each step is {times} times faster", times=faster)
        return text(", but each step is {times} times faster", times=faster)
    return text(", and each step takes only {times} times as long", times=ratio_text(times_longer))
