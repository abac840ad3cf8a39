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


# The name of each objective's figure, and of the best that the flat set is near to ("within 10 % of
# ..."). For a metric they depend on its direction.
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
    """The words of an advice's objective. A lower figure is always better."""

    metric: str  # the metric that is shown instead of the figure for quality, else empty
    quantity: str  # the figure's name in `batchlab.records.quantities`, as it is shown
    better: Better  # its direction, as it is shown
    words: tuple[str, str]

    @property
    def figure(self) -> str:
        """The figure in words, "time to target"."""
        return text(self.words[0], metric=self.metric)

    @property
    def within(self) -> str:
        """The best that the flat set is near to, "the best time"."""
        return text(self.words[1], metric=self.metric)

    def shown(self, figure: float) -> float:
        """Return the figure as it is shown: for a metric between 0 and 1 the metric, not errors."""
        return 1 - figure if self.better == "higher" else figure

    def shown_estimate(self, estimate: Estimate) -> Estimate:
        """Return an estimate as it is shown; its upper bound may become the lower one."""
        if self.better == "lower":
            return estimate
        value, low, high = (
            None if bound is None else self.shown(bound)
            for bound in (estimate.estimate, estimate.high, estimate.low)
        )
        return replace(estimate, estimate=value, low=low, high=high)


def objective_words(advice: Advice) -> ObjectiveWords:
    """Return the words of the advice's own objective."""
    is_metric = advice.objective == "quality" and bool(advice.metric)
    return ObjectiveWords(
        metric=advice.metric if is_metric else "",
        quantity=advice.metric if is_metric else _QUANTITIES[advice.objective],
        better=advice.better if is_metric else "lower",
        words=_OBJECTIVES[advice.better if is_metric else advice.objective],
    )


def ratio_text(ratio: float) -> str:
    """Return a ratio with a sensible number of digits: "0.94", "1.8", "21"."""
    return number_text(ratio, "times")


def least_text(ratio: float) -> str:
    """Return a lower bound of a ratio with the digits of `ratio_text`, rounded down."""
    digits = 2 if ratio < 1.2 else 1 - math.floor(math.log10(ratio))
    return ratio_text(math.floor(ratio * 10.0**digits + 1e-9) / 10.0**digits)


def near_text(advice: Advice) -> str:
    """Return how near to the best the flat set is, "within 10 % of the best time"."""
    share = number_text(advice.delta, "percent")
    return text("within {share} of {best}", share=share, best=objective_words(advice).within)


def target_text(target: Target) -> str:
    """Return a target in words, "validation accuracy ≥ 0.97"."""
    return text(
        "validation {metric} {sign} {value}",
        metric=target.metric,
        sign="≥" if target.better == "higher" else "≤",
        value=quantity_text(target.metric, target.value),
    )


def level_text(target: Target) -> str:
    """Return a target as a level to reach, "97.00 % validation accuracy"."""
    return text(
        "{value} validation {metric}",
        metric=target.metric,
        value=quantity_text(target.metric, target.value),
    )


# ---- ends and configurations


def overfits(advice: Advice) -> bool:
    """Return whether a final value is the mean of the best evaluations in a row, not the last."""
    return any(caveat.code == "reference_overfits" for caveat in advice.caveats)


def named_text(advice: Advice) -> str:
    """Return the label of the named configuration, in a table or at a mark."""
    if advice.named is None or advice.named.is_same(advice.reference):
        return reference_text(advice, "short")
    return text("recommended")


# Labels of the reference: if it is the user's own, and if nobody chose it.
_REFERENCE = {
    # The batch size and rate as they are.
    "configuration": ("your configuration", "the usual configuration"),
    "batch_size": ("your batch size", "the usual batch size"),
    # The configuration in a table or at a mark.
    "short": ("yours", "usual"),
    "as_is": ("yours as it is", "the usual"),
}


def reference_text(advice: Advice, what: str) -> str:
    """Return a label of the reference of `advice` by a key of `_REFERENCE`."""
    own, usual = _REFERENCE[what]
    return text(usual if advice.is_usual else own)
