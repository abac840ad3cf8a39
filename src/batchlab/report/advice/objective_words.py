"""Objective words: how a figure of merit is named, and how two of them are compared in words."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.advice.advice import Advice, Objective
from batchlab.records.trial import Target


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectiveWords:
    """What an objective calls its figure. Less is better for all of them.

    Attributes:
        quantity: the figure's name in `batchlab.records.quantities`.
        figure: the figure in words.
        takes: what a configuration with a larger figure does; `{}` is the ratio.
        within: "within 10 % of {within}".
    """

    quantity: str
    figure: str
    takes: str
    within: str


OBJECTIVE_WORDS: dict[Objective, ObjectiveWords] = {
    "time": ObjectiveWords(
        quantity="time_to_target_s",
        figure="time to target",
        takes="takes {} times as long",
        within="the least time",
    ),
    "samples": ObjectiveWords(
        quantity="samples_to_target",
        figure="samples to target",
        takes="needs {} times as many samples",
        within="the fewest samples",
    ),
    "quality": ObjectiveWords(
        quantity="distance_from_perfect",
        figure="distance of the metric from perfect",
        takes="ends {} times as far from perfect",
        within="the best metric",
    ),
}


def objective_words(advice: Advice) -> ObjectiveWords:
    """The words of the advice's own objective."""
    return OBJECTIVE_WORDS[advice.objective]


def target_text(target: Target) -> str:
    """A target in words, "validation accuracy ≥ 0.97"."""
    sign = "≥" if target.better == "higher" else "≤"
    return f"validation {target.metric} {sign} {target.value:.6g}"


def ratio_text(ratio: float) -> str:
    """A ratio with as many digits as it can bear: "0.94", "1.8", "21"."""
    return f"{ratio:.2g}" if ratio >= 1.2 else f"{ratio:.2f}"


def share_text(fraction: float) -> str:
    """A fraction as a percentage, "10 %"."""
    return f"{100 * fraction:.3g} %"
