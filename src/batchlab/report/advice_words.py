"""The words of an advice: what its objective, its target and its configurations are called."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from batchlab.advice.advice import Advice, Objective
from batchlab.records.estimate import Estimate
from batchlab.records.quantities import Better
from batchlab.records.trial import Target
from batchlab.report.text import quantity_text
from batchlab.words.catalogue import number_text, text

# ---- the objective


# What an objective calls its figure, and what the flat set is near to: "within 10 % of ...". A
# metric's words are by its direction.
_OBJECTIVES = {
    "time": ("time to target", "the best time"),
    "samples": ("samples to target", "the fewest samples"),
    "quality": ("distance from perfect", "the best metric"),
    "higher": ("validation {metric}", "the fewest errors"),
    "lower": ("validation {metric}", "the lowest {metric}"),
}
_QUANTITIES: dict[Objective, str] = {
    "time": "time_to_target_s",
    "samples": "samples_to_target",
    "quality": "distance_from_perfect",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectiveWords:
    """The words of an advice's own objective. Of the figures themselves less is better."""

    metric: str  # for quality: the metric, which is shown itself; empty: the figure is
    quantity: str  # the figure's name in `batchlab.records.quantities`, as it is shown
    better: Better  # its direction, as it is shown
    words: tuple[str, str]

    @property
    def figure(self) -> str:
        """The figure in words, "time to target"."""
        return text(self.words[0], metric=self.metric)

    @property
    def within(self) -> str:
        """What the flat set is near to, "the least time"."""
        return text(self.words[1], metric=self.metric)

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


def objective_words(advice: Advice) -> ObjectiveWords:
    """The words of the advice's own objective."""
    is_metric = advice.objective == "quality" and bool(advice.metric)
    return ObjectiveWords(
        metric=advice.metric if is_metric else "",
        quantity=advice.metric if is_metric else _QUANTITIES[advice.objective],
        better=advice.better if is_metric else "lower",
        words=_OBJECTIVES[advice.better if is_metric else advice.objective],
    )


def ratio_text(ratio: float) -> str:
    """A ratio with as many digits as it can bear: "0.94", "1.8", "21"."""
    return number_text(ratio, "times")


def least_text(ratio: float) -> str:
    """Return a ratio that is a lower bound, as finely as `ratio_text` and never above it."""
    digits = 2 if ratio < 1.2 else 1 - math.floor(math.log10(ratio))
    return ratio_text(math.floor(ratio * 10.0**digits + 1e-9) / 10.0**digits)


def near_text(advice: Advice) -> str:
    """How near to the best the flat set is, "within 10 % of the best time"."""
    share = number_text(advice.delta, "percent")
    return text("within {share} of {best}", share=share, best=objective_words(advice).within)


def target_text(target: Target) -> str:
    """A target in words, "validation accuracy ≥ 0.97"."""
    return text(
        "validation {metric} {sign} {value}",
        metric=target.metric,
        sign="≥" if target.better == "higher" else "≤",
        value=quantity_text(target.metric, target.value),
    )


def level_text(target: Target) -> str:
    """A target as a level that a training gets to, "a validation accuracy of 0.97"."""
    return text(
        "{value} validation {metric}",
        metric=target.metric,
        value=quantity_text(target.metric, target.value),
    )


# ---- ends and configurations


def overfits(advice: Advice) -> bool:
    """Whether an end is the mean of the best evaluations in a row, not of the last ones."""
    return any(caveat.code == "reference_overfits" for caveat in advice.caveats)


def named_text(advice: Advice) -> str:
    """Return what is named, in a table or at a mark."""
    if advice.named is None or advice.named.is_same(advice.reference):
        return reference_text(advice, "short")
    return text("recommended")


# How the reference is called: the user's own, and what nobody chose.
_REFERENCE = {
    # Batch size and rate as they are.
    "configuration": ("your configuration", "the usual configuration"),
    "batch_size": ("your batch size", "the usual batch size"),
    # The configuration in a table or at a mark.
    "short": ("yours", "usual"),
    "as_is": ("yours as it is", "the usual"),
}


def reference_text(advice: Advice, what: str) -> str:
    """Return a text on the reference of `advice`."""
    own, usual = _REFERENCE[what]
    return text(usual if advice.is_usual else own)
