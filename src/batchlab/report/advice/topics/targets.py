"""The targets: when a training run is done, and the answer at other targets."""

from __future__ import annotations

from batchlab.advice.advice import Advice
from batchlab.advice.parts import TargetAnswer
from batchlab.report.advice.objective_words import target_text
from batchlab.report.advice.reason_clause import clause, with_a_capital
from batchlab.report.advice.reference_words import reference_words
from batchlab.report.advice.told import Told
from batchlab.report.parts.estimate_text import estimate_text
from batchlab.report.parts.sentence import Sentence
from batchlab.words.catalogue import text
from batchlab.words.message import N_


def when_to_stop(told: Told) -> Sentence | None:
    """When a training run with the recommendation is done."""
    advice = told.advice
    if advice.recommendation is None:
        return None
    if advice.recommendation.cool_down:
        return Sentence(topic=N_("when to stop"), text=_when_cooled_down(told))
    known = advice.expected
    epochs = None if known is None else known.epochs_to_target
    if advice.target is None:
        if epochs is None or epochs.estimate is None:
            return None
        after = text(
            "After {epochs} epochs, the fixed run.",
            epochs=estimate_text("epochs_to_target", epochs),
        )
        return Sentence(topic=N_("when to stop"), text=after)
    target = target_text(advice.target) + _origin(advice)
    if epochs is None or epochs.estimate is None:
        return Sentence(topic=N_("when to stop"), text=text("At {target}.", target=target))
    at = text(
        "At {target}, expected after {epochs} epochs.",
        target=target,
        epochs=estimate_text("epochs_to_target", epochs),
    )
    return Sentence(topic=N_("when to stop"), text=at)


def _when_cooled_down(told: Told) -> str:
    """The rate of such a training has fallen to zero when it ends, so its length is fixed."""
    endings, expected = told.advice.endings, told.advice.expected
    assert endings is not None
    after = text(
        "After {epochs:.3g} epochs, when the rate has fallen to zero",
        epochs=endings.recommended.epochs,
    )
    epochs = None if expected is None else expected.epochs_to_target
    if epochs is None or epochs.estimate is None:
        return f"{after}."
    return text(
        "{after}. {target} is expected after {epochs}.",
        after=after,
        target=with_a_capital(told.target),
        epochs=estimate_text("epochs_to_target", epochs),
    )


def _origin(advice: Advice) -> str:
    """Where the target comes from, where the user did not give it."""
    return {
        "given": "",
        "pilot": text(
            " (what {configuration} ends with, and a little less)",
            configuration=reference_words(advice).configuration,
        ),
        "easier": text(" (an easier target: the budget did not reach for the plateau)"),
    }[advice.target_origin]


def other_targets(told: Told) -> Sentence | None:
    """Whether the answer would be another at an easier or a harder target."""
    parts = [_at_other(told.advice, other) for other in told.advice.other_targets]
    if not parts:
        return None
    return Sentence(topic=N_("other targets"), text=f"{with_a_capital('; '.join(parts))}.")


def _at_other(advice: Advice, other: TargetAnswer) -> str:
    at = text(
        "at the {which:term} target, {target},",
        which=other.which,
        target=target_text(other.target),
    )
    if other.verdict == "cannot_tell" or other.batch_size is None:
        return text("{at} it can't be told ({why})", at=at, why=clause(other.reason))
    if other.verdict == "indifferent":
        return text("{at} the batch size does not matter", at=at)
    kept = _keeps(advice, other.batch_size)
    return text("{at} batch size {size}{kept}", at=at, size=other.batch_size, kept=kept)


def _keeps(advice: Advice, batch_size: int) -> str:
    if advice.recommendation is None:
        return ""
    if advice.recommendation.batch_size == batch_size:
        return text(" as well")
    if batch_size in advice.flat_set:
        return text(", as good here")
    return text(": the answer depends on the target")
