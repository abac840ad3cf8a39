"""A comparison of two studies: what differs between them, in words and as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from batchlab.records.estimate import Estimate
from batchlab.records.shown import ShownInNotebook
from batchlab.records.trial import Target
from batchlab.report.table import Column, Section, Table, Value
from batchlab.report.text import interval_only_text, label_text, quantity_text
from batchlab.version import __version__
from batchlab.words.catalogue import capitalized, listing, number_text, plural, text
from batchlab.words.document import SCHEMA, plain

Verdict = Literal["differs", "within_noise", "cannot_tell"]
IDENTITY, OF_RUNS = "workload id", "runs that "


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """Something of workload, question, machine or versions that is not the same in both."""

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
    def verdict(self) -> Verdict:
        """Whether it differs beyond noise."""
        if self.change.low is None or self.change.is_too_wide:
            return "cannot_tell"
        return "within_noise" if self.change.holds(float(self.is_ratio)) else "differs"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison(ShownInNotebook):
    """Two studies side by side, and what differs beyond noise.

    Attributes:
        a: the first study, in words.
        b: the second.
        n_shared: runs and timings that are in both: one store does no work twice.
        settings: what of workload, question, machine and versions is not the same.
        target: the level that steps and times are to; None: there is none for both.
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
        """What `batchlab compare --json` prints, described by docs/schema/compare.json."""
        made: dict[str, Any] = plain(self)
        return made


def comparison_section(found: Comparison) -> Section:
    """What differs: first in a sentence, then as a table."""
    return Section(title=_lead(found), facts=tuple(_facts(found)), table=_table(found))


def _lead(found: Comparison) -> str:
    by_quantity = [[*rows] for _, rows in groupby(found.figures, lambda row: row.quantity)]
    said = [_difference(rows) for rows in by_quantity if any(r.verdict == "differs" for r in rows)]
    verdicts = {figure.verdict for figure in found.figures}
    if said:
        is_rest = len(said) < len(by_quantity)
        rest = text("; nothing else that was measured differs beyond noise") if is_rest else ""
        return f"{capitalized(listing(said))}{rest}."
    if "within_noise" in verdicts:
        return text("Nothing that was measured differs beyond noise.")
    if verdicts:
        return text("Nothing can be told from noise: that takes two runs or more of each.")
    return text("A and B have no batch size in common: nothing of them can be compared.")


_CHANGES = {
    "step_s": "B's steps take {change} times as long{interval} {where}",
    "steps_to_target": "B takes {change} times as many steps to the target{interval} {where}",
    "time_to_target_s": "B takes {change} times as long to the target{interval} {where}",
    "peak_bytes": "B takes {change} times as much memory{interval} {where}",
}
_AT_THE_END = "B's {quantity} at the end differs by {change}{interval} {where}"


def _difference(rows: Sequence[Figure]) -> str:
    """How a quantity differs, and where: by one change if that explains all batch sizes."""
    *sizes, overall = rows
    told = [row for row in sizes if row.verdict != "cannot_tell"]
    shown = [row for row in told if row.verdict == "differs"]
    but = [str(row.batch_size) for row in told if row.verdict != "differs"]
    there = [str(row.batch_size) for row in shown]
    if not shown:
        shown, where = [overall], text("over all batch sizes")
    elif len(shown) > max(1, len(but)):
        where = text("at every batch size")
        where += text(" but {sizes}", sizes=listing(but)) if but else ""
        if not but and all(row.change.holds(_value(overall)) for row in shown):
            shown = [overall]
    else:
        where = plural("at batch size {of}", "at batch sizes {of}", len(there), of=listing(there))
    least, most = (pick(shown, key=_value) for pick in (min, max))
    interval = interval_only_text(_form(least), least.change)
    return text(
        _CHANGES.get(overall.quantity, _AT_THE_END),
        quantity=label_text(overall.quantity),
        change=quantity_text(_form(least), _value(least)) if least is most else _range(least, most),
        interval=text(" ({interval})", interval=interval) if len(shown) == 1 else "",
        where=where,
    )


def _value(row: Figure) -> float:
    return row.change.estimate or 0.0


def _range(least: Figure, most: Figure) -> str:
    low, high = (quantity_text(_form(row), row.change.estimate) for row in (least, most))
    at, to = least.batch_size, most.batch_size
    return text("{low} (at {at}) to {high} (at {to})", low=low, high=high, at=at, to=to)


def _form(row: Figure) -> str:
    return "ratio" if row.is_ratio else row.quantity


def _facts(found: Comparison) -> Iterator[str]:
    differing = {row.quantity for row in found.figures if row.verdict == "differs"}
    names = [each.name for each in found.settings if not each.name.startswith(OF_RUNS)]
    if IDENTITY in names:
        yield text("They are not the same workload: code, data or settings differ.")
    elif not names:
        yield text("Workload, question, machine and versions are the same.")
        if "step_s" in differing:
            yield text("So the machine was slower during one of them: profile both again, in turn.")
    if found.target is not None:
        metric, value = found.target.metric, quantity_text(found.target.metric, found.target.value)
        yield text("Steps and time are to {metric} {value}.", metric=metric, value=value)
    if found.n_shared:
        message = "{n} runs and timings are in both, as one store does no work twice."
        yield text(message, n=found.n_shared)


def _table(found: Comparison) -> Table:
    """A row for whatever is not the same, then one for each figure of each batch size."""
    rows: list[tuple[Value, ...]] = [(s.name, "", s.a, s.b, "", "") for s in found.settings]
    for row in found.figures:
        figures = (_figure_text(row, known) for known in (row.a, row.b))
        rows.append((label_text(row.quantity), _size_text(row), *figures, *_change_cells(row)))
    caption = text(
        "A is {a}, B is {b}. In 95 of 100 comparisons all intervals hold at once.",
        a=found.a,
        b=found.b,
    )
    headers = ("what", "batch size", "A", "B", "B to A", "beyond noise")
    return Table(caption=caption, columns=tuple(map(Column, headers)), rows=tuple(rows))


def _figure_text(row: Figure, known: Estimate | None) -> str:
    if known is None:
        return ""
    shown = quantity_text(row.quantity, known.estimate)
    is_of_runs = row.learning_rates != (None, None)
    return text("{shown} (n {n})", shown=shown, n=known.n) if is_of_runs else shown


def _size_text(row: Figure) -> str:
    """The batch size, its rate and how long it was trained; of both where they differ."""
    said = [text("all") if row.batch_size is None else number_text(row.batch_size, "")]
    rates, epochs = (
        " / ".join(dict.fromkeys(number_text(x, form) for x in pair if x is not None))
        for pair, form in ((row.learning_rates, "rate"), (row.epochs, ".3g"))
    )
    said += [text("at {rates}", rates=rates)] if rates else []
    said += [text("for {epochs} epochs", epochs=epochs)] if epochs else []
    return " ".join(said)


def _change_cells(row: Figure) -> tuple[str, str]:
    """The change with its interval, and whether it is more than noise."""
    change = quantity_text(_form(row), row.change.estimate)
    if row.verdict == "cannot_tell":
        return change, text("can't be told")
    interval = interval_only_text(_form(row), row.change)
    return f"{change} ({interval})", text("yes") if row.verdict == "differs" else text("no")
