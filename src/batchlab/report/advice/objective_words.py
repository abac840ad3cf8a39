"""Objective words: how a figure of merit is named, and how two of them are compared in words."""

from __future__ import annotations

from dataclasses import dataclass, replace

from batchlab.advice.advice import Advice, Objective
from batchlab.records.estimate import Estimate
from batchlab.records.quantities import Better
from batchlab.records.trial import Target
from batchlab.words.catalogue import number_text, text


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectiveWords:
    """What an objective calls its figure. Of the figures themselves less is better.

    Attributes:
        quantity: the figure's name in `batchlab.records.quantities`, as it is shown.
        figure: the figure in words.
        takes: what a configuration with a larger figure does; `{ratio}` is the ratio.
        within: "within 10 % of {within}".
        metric: for quality: the metric, which is shown itself; empty otherwise.
        better: its direction.
    """

    quantity: str
    figure: str
    takes: str
    within: str
    metric: str = ""
    better: Better = "lower"

    @property
    def figure_text(self) -> str:
        """The figure in words, "time to target"."""
        return text(self.figure, metric=self.metric)

    @property
    def within_text(self) -> str:
        """What the flat set is near to, "the least time"."""
        return text(self.within, metric=self.metric)

    def takes_text(self, ratio: str) -> str:
        """What a configuration with so many times the figure does, "takes 2 times as long"."""
        return text(self.takes, ratio=ratio, metric=self.metric)

    def shown(self, figure: float) -> float:
        """The figure as it is shown: of a metric between 0 and 1 the metric, not its errors."""
        return 1 - figure if self.better == "higher" else figure

    def shown_estimate(self, estimate: Estimate) -> Estimate:
        """The same of an estimate; what was its upper bound may be the lower one."""
        if self.better == "lower":
            return estimate
        value, low, high = (
            None if bound is None else self.shown(bound)
            for bound in (estimate.estimate, estimate.high, estimate.low)
        )
        return replace(estimate, estimate=value, low=low, high=high)


OBJECTIVE_WORDS: dict[Objective, ObjectiveWords] = {
    "time": ObjectiveWords(
        quantity="time_to_target_s",
        figure="time to target",
        takes="takes {ratio} times as long",
        within="the best time",
    ),
    "samples": ObjectiveWords(
        quantity="samples_to_target",
        figure="samples to target",
        takes="needs {ratio} times as many samples",
        within="the fewest samples",
    ),
    "quality": ObjectiveWords(
        quantity="distance_from_perfect",
        figure="distance from perfect",
        takes="ends {ratio} times as far from perfect",
        within="the best metric",
    ),
}


_ERRORS = ObjectiveWords(
    quantity="",
    figure="validation {metric}",
    takes="makes {ratio} times as many errors",
    within="the fewest errors",
)
_LOSS = ObjectiveWords(
    quantity="",
    figure="validation {metric}",
    takes="ends with {ratio} times the {metric}",
    within="the lowest {metric}",
)


def objective_words(advice: Advice) -> ObjectiveWords:
    """The words of the advice's own objective."""
    if advice.objective != "quality" or not advice.metric:
        return OBJECTIVE_WORDS[advice.objective]
    words = _ERRORS if advice.better == "higher" else _LOSS
    return replace(words, quantity=advice.metric, metric=advice.metric, better=advice.better)


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
    best = objective_words(advice).within_text
    return text("within {share} of {best}", share=share_text(advice.delta), best=best)
