"""Parts of the tables of regret: quantiles of answers, and Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence


def quantile(values: Iterable[float], fraction: float) -> float:
    """The quantile, infinite values included; a value that was observed, never one between."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(fraction * len(ordered)) - 1))]


def both(regrets: Sequence[float]) -> str:
    """The median and the 90th percentile."""
    return f"{percent(quantile(regrets, 0.5))} / {percent(quantile(regrets, 0.9))}"


def percent(value: float) -> str:
    """A fraction in whole per cent; infinite: it fails."""
    return "fails" if math.isinf(value) else f"{round(100 * value)} %"


def head(*cells: str) -> list[str]:
    """The two lines above a table's rows."""
    return [row(*cells), "|" + "---|" * len(cells)]


def row(*cells: str) -> str:
    """One line of a table."""
    return "| " + " | ".join(cells) + " |"
