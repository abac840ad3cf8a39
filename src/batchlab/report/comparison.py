"""A comparison of two studies: its record and JSON document, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from batchlab.records.estimate import Estimate
from batchlab.records.shown import ShownInNotebook
from batchlab.records.trial import Target
from batchlab.report.table import Column, Section, Table, Value
from batchlab.report.text import interval_only_text, label_text, quantity_text, range_text
from batchlab.version import __version__
from batchlab.words.catalogue import capitalized, listing, number_text, plural, text
from batchlab.words.document import SCHEMA, plain

ENDED_BADLY, MISSED_TARGET = "runs that ended badly", "runs that missed the target"


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """Something of workload, target, machine or versions that is not the same in both."""

    name: str
    a: str
    b: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A quantity at a batch size that both have; `batch_size` null: its mean over all of them.

    `change` is B over A where `is_ratio`, else B less A. In 95 of 100 comparisons the intervals of
    all changes hold at once. Rates and epochs are A's and B's; null: the quantity has none.
    """

    quantity: str
    batch_size: int | None
    learning_rates: tuple[float | None, float | None] = (None, None)
    epochs: tuple[float | None, float | None] = (None, None)
    a: Estimate | None = None
    b: Estimate | None = None
    change: Estimate
    is_ratio: bool

    document = (
        *("quantity", "batch_size", "learning_rates", "epochs", "a", "b", "change", "is_ratio"),
        "verdict",
    )

    @property
    def verdict(self) -> Literal["differs", "within_noise", "cannot_tell"]:
        """Whether the two sides differ beyond noise."""
        if self.change.low is None or self.change.is_too_wide:
            return "cannot_tell"
        return "within_noise" if self.change.holds(float(self.is_ratio)) else "differs"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison(ShownInNotebook):
    """Two studies side by side, and what differs beyond noise.

    Attributes:
        a: the first study, in words.
        b: the second.
        n_shared: runs and timings that are in both, because one store does no work twice.
        settings: the parts of workload, target, machine and versions that differ.
        target: the level that steps and times refer to, or None if the two share none.
        figures: step time, steps and time to the target, the metric at the end and memory.
    """

    schema: int = SCHEMA
    command: str = "compare"
    batchlab: str = __version__
    a: str
    b: str
    n_shared: int
    settings: tuple[Setting, ...]
    target: Target | None
    figures: tuple[Figure, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return what `batchlab compare --json` prints, described by docs/schema/compare.json."""
        made: dict[str, Any] = plain(self)
        return made


# ---- in words


def comparison_section(comparison: Comparison) -> Section:
    """Return what differs, first in a sentence and then as a table."""
    title, facts = _title(comparison), tuple(_facts(comparison))
    return Section(title=title, facts=facts, table=_table(comparison))


_SENTENCES = {
    "step_s": "B's steps take {change} times as long{where}",
    "steps_to_target": "B takes {change} times as many steps to the target{where}",
    "time_to_target_s": "B takes {change} times as long to the target{where}",
    "peak_bytes": "B takes {change} times as much memory{where}",
}
_OF_METRIC = "B's {quantity} at the end differs by {change}{where}"
_BEYOND_NOISE = {"differs": "yes", "within_noise": "no", "cannot_tell": "can't tell"}


def _title(comparison: Comparison) -> str:
    differing = [figure for figure in comparison.figures if figure.verdict == "differs"]
    by_quantity = [[*rows] for _, rows in groupby(differing, lambda figure: figure.quantity)]
    if by_quantity:
        return f"{capitalized(listing([_difference_text(rows) for rows in by_quantity]))}."
    verdicts = {figure.verdict for figure in comparison.figures}
    if "within_noise" in verdicts:
        return text("Nothing that was measured differs beyond noise.")
    if verdicts:
        return text("Nothing can be told from noise: that takes two runs or more of each.")
    return text("Nothing was measured of the same batch size in both A and B.")


def _difference_text(rows: list[Figure]) -> str:
    """Say how a quantity differs: by its mean change if that fits every batch size that differs."""
    last, sizes = rows[-1], [row for row in rows if row.batch_size is not None]
    value, form = last.change.estimate or 0.0, _form(last)
    if last.batch_size is None and all(row.change.holds(value) for row in sizes):
        change, interval = quantity_text(form, value), interval_only_text(form, last.change)
        where = text(" ({interval}) over all batch sizes", interval=interval)
    else:
        changes = [row.change.estimate or 0.0 for row in sizes]
        change = range_text(form, min(changes), max(changes))
        named = listing([str(row.batch_size) for row in sizes])
        where = plural(" at batch size {of}", " at batch sizes {of}", len(sizes), of=named)
    message = _SENTENCES.get(last.quantity, _OF_METRIC)
    return text(message, quantity=label_text(last.quantity), change=change, where=where)


def _form(figure: Figure) -> str:
    return "ratio" if figure.is_ratio else figure.quantity


def _facts(comparison: Comparison) -> Iterator[str]:
    names = {setting.name for setting in comparison.settings} - {ENDED_BADLY, MISSED_TARGET}
    if "workload id" in names:
        yield text("They are not the same workload: code, data or settings differ.")
    elif not names:
        yield text("Workload, machine and versions are the same.")
        if ("step_s", "differs") in ((row.quantity, row.verdict) for row in comparison.figures):
            yield text("So the machine was slower during one of them: profile both again, in turn.")
    if comparison.target is not None:
        metric, value = comparison.target.metric, comparison.target.value
        shown = quantity_text(metric, value)
        yield text("Steps and time are to {metric} {value}.", metric=metric, value=shown)
    if comparison.n_shared:
        message = "{n} runs and timings are in both, as one store does no work twice."
        yield text(message, n=comparison.n_shared)


def _table(comparison: Comparison) -> Table:
    """Return one row per setting that differs, then one per figure of each batch size."""
    rows: list[tuple[Value, ...]] = [(s.name, "", s.a, s.b, "", "") for s in comparison.settings]
    for row in comparison.figures:
        a, b = (known and quantity_text(row.quantity, known.estimate) for known in (row.a, row.b))
        change = quantity_text(_form(row), row.change.estimate)
        if row.verdict != "cannot_tell":
            change += f" ({interval_only_text(_form(row), row.change)})"
        beyond = text(_BEYOND_NOISE[row.verdict])
        rows.append((label_text(row.quantity), _size_text(row), a or "", b or "", change, beyond))
    caption = text(
        "A is {a}, B is {b}. In 95 of 100 comparisons all intervals hold at once.",
        a=comparison.a,
        b=comparison.b,
    )
    headers = ("what", "batch size", "A", "B", "B to A", "beyond noise")
    return Table(caption=caption, columns=tuple(map(Column, headers)), rows=tuple(rows))


def _size_text(row: Figure) -> str:
    """Return the batch size with its rate and epochs, of both sides if they differ."""
    parts = [text("all") if row.batch_size is None else number_text(row.batch_size, "")]
    if rates := _of_both(row.learning_rates, "rate"):
        parts.append(text("at {rates}", rates=rates))
    if epochs := _of_both(row.epochs, ".3g"):
        parts.append(text("for {epochs} epochs", epochs=epochs))
    return " ".join(parts)


def _of_both(values: tuple[float | None, float | None], form: str) -> str:
    shown = [number_text(value, form) for value in values if value is not None]
    return " / ".join(dict.fromkeys(shown))
