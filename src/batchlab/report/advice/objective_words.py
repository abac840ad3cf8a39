"""Objective words: how a figure of merit is named, and how two of them are compared in words."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.advice.advice import Advice
from batchlab.advice.parts import Objective
from batchlab.records.trial import Target
from batchlab.words.catalogue import number_text, text
from batchlab.words.message import N_


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectiveWords:
    """What an objective calls its figure. Less is better for all of them.

    Attributes:
        quantity: the figure's name in `batchlab.records.quantities`.
        figure: the figure in words.
        takes: what a configuration with a larger figure does; `{ratio}` is the ratio.
        within: "within 10 % of {within}".
    """

    quantity: str
    figure: str
    takes: str
    within: str


OBJECTIVE_WORDS: dict[Objective, ObjectiveWords] = {
    "time": ObjectiveWords(
        quantity="time_to_target_s",
        figure=N_("time to target"),
        takes=N_("takes {ratio} times as long"),
        within=N_("the least time"),
    ),
    "samples": ObjectiveWords(
        quantity="samples_to_target",
        figure=N_("samples to target"),
        takes=N_("needs {ratio} times as many samples"),
        within=N_("the fewest samples"),
    ),
    "quality": ObjectiveWords(
        quantity="distance_from_perfect",
        figure=N_("distance of the metric from perfect"),
        takes=N_("ends {ratio} times as far from perfect"),
        within=N_("the best metric"),
    ),
}


def objective_words(advice: Advice) -> ObjectiveWords:
    """The words of the advice's own objective."""
    return OBJECTIVE_WORDS[advice.objective]


def target_text(target: Target) -> str:
    """A target in words, "validation accuracy ≥ 0.97"."""
    sign = "≥" if target.better == "higher" else "≤"
    return text(
        "validation {metric} {sign} {value:.6g}",
        metric=target.metric,
        sign=sign,
        value=target.value,
    )


def ratio_text(ratio: float) -> str:
    """A ratio with as many digits as it can bear: "0.94", "1.8", "21"."""
    return number_text(ratio, "times")


def share_text(fraction: float) -> str:
    """A fraction as a percentage, "10 %"."""
    return number_text(fraction, "percent")


def near_text(advice: Advice) -> str:
    """How near to the best the flat set is, "within 10 % of the least time"."""
    best = text(objective_words(advice).within)
    return text("within {share} of {best}", share=share_text(advice.delta), best=best)
