"""The targets: when a training run is done, and the answer at other targets."""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.advice.advice import Advice, TargetAnswer
from batchlab.report.advice_words import Told, reference_words, target_text
from batchlab.report.text import Sentence, clause, interval_text, with_a_capital
from batchlab.words.catalogue import text


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
