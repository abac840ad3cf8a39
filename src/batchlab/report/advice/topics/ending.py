"""How whole trainings end: the recommendation beside the reference, as it is and tuned."""

from __future__ import annotations

import math
from collections.abc import Iterator

from batchlab.advice.advice import MORE_ERRORS, Advice, Endings
from batchlab.report.advice_commands import weights_command
from batchlab.report.advice_words import Told, end_text, is_same, reference_words
from batchlab.report.text import Sentence, clause
from batchlab.words.catalogue import number_text, plural, text


def ending(told: Told) -> Sentence | None:
    """Where trainings of each end, and how much worse the recommendation may at most end."""
    endings = told.advice.endings
    if endings is None or not endings.recommended.found:
        return None
    constant = endings.at_constant_rate
    if constant is None:
        said = text(
            "{trained}, {ends}. {judged}",
            trained=_trained(endings),
            ends=_ends(told.advice, endings),
            judged=_judged(endings),
        )
    else:
        said = text(
            "At a constant rate {worse}: at {metric} {end}, the better of yours at {other}. So a "
            "rate that falls to zero over the last {part:percent} of {epochs:.3g} epochs was tried "
            "({trained}). With it {cooled}. {judged}",
            worse=text("it ends worse")
            if constant.verdict == "worse"
            else text("it may end worse"),
            metric=constant.metric,
            end=end_text(constant, constant.recommended),
            other=end_text(constant, constant.compared_with),
            part=endings.recommended.cool_down,
            epochs=endings.recommended.epochs,
            cooled=_ends(told.advice, endings),
            trained=plural("{n} training each", "{n} trainings each", len(endings.seeds)),
            judged=_judged(endings),
        )
    return Sentence(topic="where it ends", text=said)


def _ends(advice: Advice, endings: Endings) -> str:
    """Where each of the configurations ends."""
    mine, own = endings.recommended, advice.reference
    named = text("batch size {size}", size=mine.batch_size)
    if mine.batch_size == own.batch_size and mine.learning_rate != own.learning_rate:
        named = text(
            "batch size {size} at learning rate {rate:rate}",
            size=mine.batch_size,
            rate=mine.learning_rate,
        )
    return text(
        "{named} ends at {metric} {end}{others}",
        named=named,
        metric=endings.metric,
        end=end_text(endings, mine),
        others="".join(f", {other}" for other in _others(advice, endings)),
    )


def trained_model(told: Told) -> Sentence | None:
    """That a whole training with what is named is kept, and how to get its model."""
    advice = told.advice
    named, endings = advice.named, advice.endings
    if named is None or endings is None or told.study.workload.is_own_command:
        return None  # a command keeps its models itself
    followed = (endings.recommended, endings.reference, endings.reference_tuned)
    if not any(end is not None and end.found and is_same(end, named) for end in followed):
        return None
    return Sentence(
        topic="trained model",
        text=text("A whole training with it was kept. This command writes its model to a file."),
        command=weights_command(told.study),
    )


def _trained(endings: Endings) -> str:
    return plural(
        "Trained once for {epochs} epochs",
        "Trained {n} times for {epochs} epochs",
        len(endings.recommended.found),
        epochs=number_text(endings.recommended.epochs, ".3g"),
    )


def _others(advice: Advice, endings: Endings) -> Iterator[str]:
    """What the references end at, each once."""
    tuned = text("{size} at its tuned rate", size=advice.reference.batch_size)
    for other in endings.references:
        as_it_is = other is endings.reference
        name = reference_words(advice).configuration if as_it_is else tuned
        if other.found:
            end = end_text(endings, other)
            yield text("{configuration} at {end}", configuration=name, end=end)
        else:
            yield text("{configuration} was not trained to its end", configuration=name)


def _judged(endings: Endings) -> str:
    """How much worse it may be, against how much is allowed."""
    if endings.compared_with == endings.recommended:
        if endings.recommended == endings.reference:
            return text("It is your own configuration.")
        return text("No training of your configuration came to its end.")
    worst, margin = endings.difference.low, endings.margin
    if endings.verdict == "worse":
        return text("That is worse: {why}.", why=clause(endings.reason))
    if worst is None:
        return text("These are too few trainings to tell whether it ends as well.")
    if worst >= 0 and endings.verdict == "no_worse":
        return text("It certainly ends at least as well (95 %).")
    mean = endings.compared_with.mean
    errors = 1 - mean if endings.better == "higher" else mean
    if not math.isclose(margin, MORE_ERRORS * errors):
        return text(
            "It may be up to {worst} worse than the better of yours (95 %); {margin} is allowed.",
            worst=number_text(max(0.0, -worst), ".2g"),
            margin=number_text(margin, ".2g"),
        )
    return text(
        "It may make up to {worst} more errors than the better of yours (95 %); {margin} is "
        "allowed.",
        worst=number_text(max(0.0, -worst) / errors, "percent"),
        margin=number_text(margin / errors, "percent"),
    )
