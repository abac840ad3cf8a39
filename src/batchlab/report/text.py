"""Numbers, estimates, reasons and single words as people read them, and lines of a terminal."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

from batchlab.measure.measurements import measurement_rows
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.quantities import FRACTION_METRICS, QUANTITIES, Quantity, quantity
from batchlab.records.run import PlanName
from batchlab.records.study import BestSoFar, Study
from batchlab.words.catalogue import capitalized, listing, number_text, term_text, text
from batchlab.words.numbers import UNKNOWN, form_of
from batchlab.words.reasons import reason_text

# ---- lines of a terminal

LEAST = 40
MOST = 100
WIDTH = 88  # where there is no terminal
_columns: ContextVar[int | None] = ContextVar("columns", default=None)
_NO_BREAK = "\u00a0"
# A number and its unit or percent sign are read in one go.
_BEFORE_A_UNIT = re.compile(r"(?<=\d) (?=(?:%|[kMG]?B|[kMG]/s|[µm]?s|min|h|points|in \d+)(?!\w))")


@contextmanager
def on_a_terminal(columns: int) -> Iterator[None]:
    """Context: texts are for a terminal of so many columns, and fit it from 40 to 100."""
    token = _columns.set(max(LEAST, min(columns, MOST)))
    try:
        yield
    finally:
        _columns.reset(token)


def text_width(usual: int) -> int:
    """The columns that a text may have: those of the terminal, `usual` where there is none."""
    return table_width() or usual


def table_width() -> int | None:
    """The columns that a table may have; None: as many as it needs."""
    return _columns.get()


def wrapped_text(said: str) -> str:
    """Lines as wide as the terminal, else 88, if words allow it; under "- " they are indented."""
    return "\n".join(
        wrapped_lines(said, text_width(WIDTH), indent="  " if said.startswith("- ") else "")
    )


def listed(facts: Iterable[str]) -> str:
    """Each fact behind a dash, as `wrapped_text`."""
    return "\n".join(wrapped_text(f"- {fact}") for fact in facts)


def unbroken(said: str) -> str:
    """Return a text in which no line breaks between a number and its unit."""
    return _BEFORE_A_UNIT.sub(_NO_BREAK, said)


def wrapped_lines(said: str, width: int, *, first: str = "", indent: str = "") -> list[str]:
    """Lines of at most `width` characters where words allow it, words and hyphens whole.

    `first` stands before the first line, within the width, `indent` before all others.
    """
    lines = textwrap.wrap(
        unbroken(said),
        width,
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_NO_BREAK, " ") for line in lines]


# ---- quantities

_NAMED = frozenset(row.name for row in QUANTITIES)


def shown_quantity(name: str) -> Quantity:
    """The quantity called `name`: one of the records, or of a measurement that brings its own.

    A user's own metric has neither unit nor direction.
    """
    if name not in _NAMED and name in (rows := measurement_rows()):
        return rows[name].quantity
    return quantity(name)


def quantity_text(name: str, value: float | str | None) -> str:
    """`value` of the quantity called `name` in three or four significant digits, with its unit.

    Words are returned as they are, and a dash where the value is not known.
    """
    if isinstance(value, str):
        return value
    return number_text(value, form_of(name, shown_quantity(name).unit))


def difference_text(metric: str, difference: float, *, level: float) -> str:
    """Return a difference of a metric, of accuracies in points: "0.65 points".

    Args:
        metric: its name.
        difference: of two of its values.
        level: one of these, which shows whether they are shares or percent.
    """
    return quantity_text(gap_quantity(metric, level), difference)


def gap_quantity(metric: str, level: float) -> str:
    """Return the quantity that writes differences of a metric with values like `level`."""
    is_share = metric in FRACTION_METRICS and abs(level) <= 1
    return "gap_points" if is_share else "generalization_gap"


def range_text(name: str, low: float, high: float) -> str:
    """The range of a quantity over seeds, "0.961 to 0.972"; one value where both read the same."""
    from_, to = quantity_text(name, low), quantity_text(name, high)
    return from_ if from_ == to else text("{low} to {high}", low=from_, high=to)


def label_text(name: str) -> str:
    """The words for a quantity on an axis or over a column; a user's metric keeps its name."""
    found = shown_quantity(name)
    return text(found.label) if name in _NAMED or found.label != name else name


def axis_text(name: str) -> str:
    """Return the label with its unit, if it does not name that itself, as an axis shows it."""
    unit = shown_quantity(name).unit
    if not unit or text(unit) in label_text(name).split():
        return label_text(name)
    return text("{label} ({unit})", label=label_text(name), unit=text(unit))


# ---- estimates


def estimate_text(name: str, estimate: Estimate) -> str:
    """An estimate of the quantity called `name`: "12.3 s (95 %: 11.8 s to 12.9 s)".

    With one known bound and no value it is that bound; where nothing is known it says so, and the
    reason is left to the caller.
    """
    if estimate.estimate is None:
        return bound_text(name, estimate) or text("can't be told")
    interval, value = interval_text(name, estimate), quantity_text(name, estimate.estimate)
    return f"{value} ({interval})" if interval else value


# An interval within so much of its value reads as "± 12 %"; a wider one has its two ends.
_NARROW = 0.5
_RELATIVE = ("s", "examples")
_EXACT = 1e-9  # what is known better than this has no interval
_LONG = 1000.0  # from here on a number has no decimals, and an exponent rather than zeros


def spread_text(name: str, estimate: Estimate) -> str:
    """An estimate as a cell of a table: "0.9730 ± 0.0012", "910 ms ± 16 %", "> 1.5 s".

    A dash where nothing is known.
    """
    value, low, high = estimate.estimate, estimate.low, estimate.high
    if value is None:
        bound = quantity_text(name, high if low is None else low)
        return bound if bound == UNKNOWN else f"{'<' if low is None else '>'} {bound}"
    shown = quantity_text(name, value)
    if low is None or high is None:
        return shown
    half = max(high - value, value - low)
    is_share = name in FRACTION_METRICS or name == "gap_points"
    if half <= _EXACT * (1.0 if is_share else abs(value)):
        return shown
    if is_share:
        scale = 1.0 if name != "gap_points" and abs(value) > 1 else 100.0
        unit = text("points") if name == "gap_points" else "%"
        digits = max(0, 1 - math.floor(math.log10(scale * half)))
        return f"{scale * value:.{digits}f} ± {scale * half:.{digits}f} {unit}"
    if shown_quantity(name).unit not in _RELATIVE:
        digits = max(0, 1 - math.floor(math.log10(half)))
        forms = (f".{digits}f",) * 2 if half < _LONG else (".4g", ".2g")
        return " ± ".join(map(number_text, (value, half), forms))
    if estimate.is_too_wide:
        return f"{shown} ± ?"
    if half > _NARROW * value:
        return f"{shown} ({range_text(name, low, high)})"
    return f"{shown} ± {number_text(half / value, 'whole_percent')}"


def interval_text(name: str, estimate: Estimate) -> str:
    """The 95 % interval alone, "95 %: 11.8 s to 12.9 s"; empty where no bound is known."""
    interval = interval_only_text(name, estimate)
    return text("95 %: {interval}", interval=interval) if interval else ""


def interval_only_text(name: str, estimate: Estimate) -> str:
    """The interval without what it is, "11.8 s to 12.9 s"; empty where no bound is known.

    Of a time whose interval spans a factor of 100, that it is too unsteady for one.
    """
    if name.endswith("_s") and estimate.is_too_wide:
        return text("too unsteady")
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


# ---- words

Kind = int | PlanName
"""What a training is compared by: its batch size, or the plan that changes it on the way."""


def split_label(split: str, metric: str) -> str:
    """A metric of a split, as a column or a panel is called: "train accuracy"."""
    return text("{split} {metric}", split=term_text(split), metric=label_text(metric))


def batch_text(study: Study, kind: Kind) -> str:
    """Name a batch size or plan in words: "batch size 64", "full batch", "the plan grow"."""
    if isinstance(kind, str):
        return text("the plan {name}", name=term_text(kind))
    if kind == study.workload.n_train:
        return text("full batch")
    return text("batch size {batch_size}", batch_size=kind)


def batch_sizes_text(study: Study, kinds: Sequence[Kind]) -> str:
    """Name several in words: "batch sizes 32, 128 and 512", "batch size 32 and the plan grow"."""
    sizes = [kind for kind in kinds if isinstance(kind, int)]
    plans = [batch_text(study, kind) for kind in kinds if isinstance(kind, str)]
    if len(sizes) < 2:
        return listing([*(batch_text(study, size) for size in sizes), *plans])
    full = study.workload.n_train
    numbers = [
        text("{n} (full)", n=size) if size == full else number_text(size, "") for size in sizes
    ]
    said = text("batch sizes {named}", named=listing(numbers))
    return text("{sizes}, and {plans}", sizes=said, plans=listing(plans)) if plans else said


def best_so_far_text(best: BestSoFar) -> str:
    """What leads, without an end: "best so far: batch size 64 at learning rate 0.1 (97 %)"."""
    value = quantity_text(best.quantity, best.value)
    figure = {
        "time_to_target_s": text("{value} to target", value=value),
        "samples_to_target": text("{value} examples to target", value=value),
    }.get(best.quantity, text("{metric} {value}", metric=label_text(best.quantity), value=value))
    return text(
        "best so far: batch size {size} at learning rate {rate} ({f})",
        size=best.batch_size,
        rate=number_text(best.learning_rate, "rate"),
        f=figure,
    )


# ---- sentences


def whole_sentence(reason: Reason) -> str:
    """A reason or caveat as a sentence of its own: a capital, and a full stop at the end."""
    words = clause(reason)
    return f"{capitalized(words)}." if words else ""


def clause(reason: Reason | None) -> str:
    """A reason as part of a sentence: without the full stop of its own."""
    return reason_text(reason).strip().rstrip(".")


ClaimVerdict = Literal["held", "did_not_hold", "cannot_tell", "not_tested"]
VERDICT_WORDS: dict[ClaimVerdict, str] = {
    "held": "held",
    "did_not_hold": "did not hold",
    "cannot_tell": "can't tell",
    "not_tested": "not tested",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Sentence:
    """One thing that a study has shown, or could not show, in plain words."""

    topic: str  # what it is about, a few words: a text of the catalogue, and its key
    text: str  # the finding with its numbers
    verdict: ClaimVerdict | None = None  # of a claim that was tested
    command: str = ""  # a whole command that does what the text says; empty: none

    def __str__(self) -> str:
        return self.text
