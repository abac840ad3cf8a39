"""Spread: one number per seed, and what they say together, in words and as rows of a chart."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from batchlab.report.parts.figure import Row, rounded
from batchlab.report.parts.quantity_text import quantity_text, range_text
from batchlab.report.parts.term_text import term_text
from batchlab.words.catalogue import plural, text


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """One number per seed, and what they say together.

    Attributes:
        values: the numbers, at least one, one per seed.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Their mean."""
        return statistics.fmean(self.values)

    @property
    def low(self) -> float:
        """The lowest of them."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The highest of them."""
        return max(self.values)

    @property
    def n(self) -> int:
        """How many seeds there are."""
        return len(self.values)


def spread_text(name: str, spread: Spread) -> str:
    """The mean of a quantity with its range over seeds and their count."""
    mean = quantity_text(name, spread.mean)
    if spread.n == 1:
        return text("{mean} (one seed)", mean=mean)
    between = range_text(name, spread.low, spread.high)
    return plural(
        "{mean} ({range}, {n} seed)",
        "{mean} ({range}, {n} seeds)",
        spread.n,
        mean=mean,
        range=between,
    )


def spread_row(spread: Spread) -> Row:
    """Mean, range and count as fields of a chart row."""
    return {
        "mean": rounded(spread.mean),
        "low": rounded(spread.low),
        "high": rounded(spread.high),
        "n": spread.n,
    }


def size_rows(
    name: dict[str, str], batch_size: int, middle: float, spread: Spread
) -> Iterator[Row]:
    """One row for the whole, one for each observation."""
    base: Row = {**name, "batch_size": batch_size}
    yield {**base, **spread_row(spread), "mean": rounded(middle), "whole": True}
    if spread.n > 1:
        for value in spread.values:
            yield {**base, "mean": rounded(value), "whole": False}


def size_words(what: str, name: str, rows: tuple[Row, ...], panel: str) -> str:
    """What a chart against batch size shows, in words: each whole value, each bound."""
    values = [
        f"{row['batch']}{_series_text(str(row.get('series', 'end')))}: {_value_text(name, row)}"
        for row in rows
        if row["panel"] == panel and (row.get("whole") or row.get("kind") == "bound")
    ]
    return text(
        "Chart of {what} against batch size. {values}.", what=what, values="; ".join(values)
    )


def _value_text(name: str, row: Row) -> str:
    value = quantity_text(name, row["mean"])
    return text("more than {bound}", bound=value) if row.get("kind") == "bound" else value


def _series_text(series: str) -> str:
    """The split that a value is of; empty where the panel has one series only."""
    return "" if series in ("gap", "timing", "end") else f" {term_text(series)}"
