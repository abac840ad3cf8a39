"""Estimate text: an estimate with its interval as people read it, or that it can't be told."""

from __future__ import annotations

from batchlab.records.estimate import Estimate
from batchlab.report.parts.quantity_text import quantity_text, range_text
from batchlab.words.catalogue import text

NOT_TOLD = "can't be told"
TOO_UNSTEADY = "too unsteady"


def estimate_text(name: str, estimate: Estimate, *, of: str | None = None) -> str:
    """An estimate of the quantity called `name`: "12.3 s (95 %: 11.8 s to 12.9 s, 6 runs)".

    Args:
        name: a name of `batchlab.records.quantities`.
        estimate: the estimate; with one known bound and no value it is a bound.
        of: what its observations are, in the plural; None leaves their count out.

    Returns:
        The text; where nothing is known it says so, and the reason is left to the caller.
    """
    if estimate.estimate is None:
        return bound_text(name, estimate) or text(NOT_TOLD)
    inside = [interval_text(name, estimate)]
    if of is not None and estimate.n:
        inside.append(f"{estimate.n} {of if estimate.n > 1 else of.removesuffix('s')}")
    known = ", ".join(part for part in inside if part)
    value = quantity_text(name, estimate.estimate)
    return f"{value} ({known})" if known else value


def interval_text(name: str, estimate: Estimate) -> str:
    """The 95 % interval alone, "95 %: 11.8 s to 12.9 s"; empty where no bound is known."""
    interval = interval_only_text(name, estimate)
    return text("95 %: {interval}", interval=interval) if interval else ""


def interval_only_text(name: str, estimate: Estimate) -> str:
    """The interval without what it is, "11.8 s to 12.9 s"; empty where no bound is known.

    Of a time whose interval spans a factor of 100, that it is too unsteady for one.
    """
    if name.endswith("_s") and estimate.is_too_wide:
        return text(TOO_UNSTEADY)
    if estimate.low is not None and estimate.high is not None:
        return range_text(name, estimate.low, estimate.high)
    return bound_text(name, estimate)


def bound_text(name: str, estimate: Estimate) -> str:
    """The one bound that is known, "at least 9,000"; empty where none or both are."""
    if estimate.low is not None and estimate.high is None:
        return text("at least {low}", low=quantity_text(name, estimate.low))
    if estimate.high is not None and estimate.low is None:
        return text("at most {high}", high=quantity_text(name, estimate.high))
    return ""
