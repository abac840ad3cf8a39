"""Texts for numbers, estimates, reasons and labels, and line wrapping for a terminal."""

from __future__ import annotations

import functools
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, ParamSpec, TypeVar

from batchlab.measure.measurements import measurement_rows
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.quantities import FRACTION_METRICS, Quantity, quantity
from batchlab.records.run import Kind
from batchlab.records.study import Study
from batchlab.words.catalogue import capitalized, counted_in, listing, number_text, term_text, text
from batchlab.words.numbers import NAMED_QUANTITIES, form_of
from batchlab.words.reasons import reason_text

Args = ParamSpec("Args")
Result = TypeVar("Result")

# ---- lines of a terminal

LEAST = 40
MOST = 100
WIDTH = 88  # the width of a text that is not for a terminal
_columns: ContextVar[int | None] = ContextVar("columns", default=None)
_NO_BREAK = "\u00a0"
# Matches the space between a number and its unit or percent sign, where no line may break.
_BEFORE_A_UNIT = re.compile(r"(?<=\d) (?=(?:%|[kMG]?B|[kMG]?/s|[µm]?s|min|h|points|in \d+)(?!\w))")


@contextmanager
def on_a_terminal(columns: int) -> Iterator[None]:
    """Wrap all texts made in the `with` block at `columns` characters (40 to 100)."""
    token = _columns.set(max(LEAST, min(columns, MOST)))
    try:
        yield
    finally:
        _columns.reset(token)


def terminal_width() -> int | None:
    """Return the terminal's width in characters; None without a terminal."""
    return _columns.get()


def wrapped_text(line: str) -> str:
    """Wrap a text at the terminal's width or at 88 characters; indent a list item's later lines."""
    indent = "  " if line.startswith("- ") else ""
    return "\n".join(wrapped_lines(line, terminal_width() or WIDTH, indent=indent))


def listed(facts: Iterable[str]) -> str:
    """Return the facts as a list with dashes, each wrapped by `wrapped_text`."""
    return "\n".join(wrapped_text(f"- {fact}") for fact in facts)


def unbroken(line: str) -> str:
    """Return a text with no-break spaces between numbers and units, so that no line ends there."""
    return _BEFORE_A_UNIT.sub(_NO_BREAK, line)


def wrapped_lines(line: str, width: int, *, indent: str = "") -> list[str]:
    """Wrap a text at `width` characters, only between words; a longer word exceeds the width.

    `indent` is put before all lines but the first and counts as part of the width.
    """
    lines = textwrap.wrap(
        unbroken(line),
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_NO_BREAK, " ") for line in lines]


# ---- quantities


def shown_quantity(name: str) -> Quantity:
    """Return the quantity called `name`, defined in `QUANTITIES` or by a measurement.

    Any other name is a user's metric, whose quantity has no unit.
    """
    if name not in NAMED_QUANTITIES and name in measurement_rows():
        return measurement_rows()[name].quantity
    return quantity(name)


def quantity_text(name: str, value: float | str | None) -> str:
    """Write a value of the quantity `name` with its unit; the quantity decides the rounding.

    A text is returned unchanged; None becomes a dash.
    """
    if isinstance(value, str):
        return value
    return number_text(value, form_of(name, shown_quantity(name).unit))


def range_text(name: str, low: float, high: float) -> str:
    """Write a range, "0.961 to 0.972", or one value if both bounds are equal after rounding."""
    from_, to = quantity_text(name, low), quantity_text(name, high)
    if from_ == to:
        return from_
    return f"{from_.removesuffix(' points')} to {to}"


def label_text(name: str) -> str:
    """Return the label of a quantity for an axis or column; a user's metric keeps its name."""
    label = shown_quantity(name).label
    if name in NAMED_QUANTITIES or label != name:
        return text(label)
    return name


def axis_text(name: str) -> str:
    """Return the label of an axis with its unit, unless the label already includes the unit."""
    unit = shown_quantity(name).unit
    if not unit or text(unit) in label_text(name).split():
        return label_text(name)
    return f"{label_text(name)} ({text(unit)})"


def in_its_unit(function: Callable[Args, Result]) -> Callable[Args, Result]:
    """Decorate a function so that the texts it writes say "examples" or "tokens" correctly.

    The unit is that of the `Study` among the function's arguments.
    """

    @functools.wraps(function)
    def in_unit(*args: Args.args, **kwargs: Args.kwargs) -> Result:
        (study,) = [value for value in (*args, *kwargs.values()) if isinstance(value, Study)]
        with counted_in(study.workload.unit):
            return function(*args, **kwargs)

    return in_unit


# ---- estimates


def estimate_text(name: str, estimate: Estimate) -> str:
    """Write an estimate of the quantity called `name`: "12.3 s (95 %: 11.8 s to 12.9 s)".

    Without a value, write the bound if exactly one bound is known; otherwise write "can't be told",
    to which the caller adds the reason. If a time's upper bound is at least 100 times the lower
    bound, write "too unsteady" in place of the interval.
    """
    interval = bound_text(name, estimate)
    if estimate.estimate is None:
        return interval or "can't be told"
    if name.endswith("_s") and estimate.is_too_wide:
        interval = "too unsteady"
    elif estimate.low is not None and estimate.high is not None:
        interval = range_text(name, estimate.low, estimate.high)
    value = quantity_text(name, estimate.estimate)
    return f"{value} (95 %: {interval})" if interval else value


# If half an interval's width is at most this fraction of the value, write "± 12 %", else bounds.
_NARROW = 0.5
_EXACT = 1e-9  # If half an interval's width is at most this fraction, do not show the interval.


def spread_text(name: str, estimate: Estimate) -> str:
    """Write an estimate as a cell of a table: "0.9730 ± 0.0012", "910 ms ± 16 %", "> 1.5 s".

    The cell is a dash if nothing is known.
    """
    value, low, high = estimate.estimate, estimate.low, estimate.high
    if value is None and low is not None:
        return f"> {quantity_text(name, low)}"
    if value is None and high is not None:
        return f"< {quantity_text(name, high)}"
    shown = quantity_text(name, value)
    if value is None or low is None or high is None:
        return shown
    half = max(high - value, value - low)
    is_share = name in FRACTION_METRICS or name == "gap_points"
    if half <= _EXACT * (1.0 if is_share else abs(value)):
        return shown
    if shown_quantity(name).unit in ("s", "examples"):
        if estimate.is_too_wide:
            return f"{shown} ± ?"
        if half > _NARROW * value:
            return f"{shown} ({range_text(name, low, high)})"
        return f"{shown} ± {number_text(half / value, 'whole_percent')}"
    if is_share:
        scale, unit = 100.0, "points" if name == "gap_points" else "%"
        if name != "gap_points" and abs(value) > 1:
            scale = 1.0
        # Write two decimals, so that columns align, or more if the interval would round to 0.
        digits = max(2, -math.floor(math.log10(scale * half)))
        return f"{scale * value:.{digits}f} ± {scale * half:.{digits}f} {unit}"
    digits = max(0, 1 - math.floor(math.log10(half)))
    return f"{value:.{digits}f} ± {half:.{digits}f}"


def bound_text(name: str, estimate: Estimate) -> str:
    """Write the bound if only one is known, such as "at least 9,000"; otherwise return ""."""
    if estimate.low is not None and estimate.high is None:
        return f"at least {quantity_text(name, estimate.low)}"
    if estimate.high is not None and estimate.low is None:
        return f"at most {quantity_text(name, estimate.high)}"
    return ""


# ---- words


def split_label(split: str, metric: str) -> str:
    """Return the label of a metric on a split: "train accuracy", or "val_loss" unchanged."""
    if split == "validation":
        return text("{metric:of_validation}", metric=label_text(metric))
    if metric.lower().startswith(split):
        return label_text(metric)
    return f"{term_text(split)} {label_text(metric)}"


def size_text(batch_size: int, n_train: int) -> str:
    """Return a batch size as a table shows it: "64", "4096 (full)"."""
    return f"{batch_size} (full)" if batch_size == n_train else str(batch_size)


def batch_text(study: Study, kind: Kind) -> str:
    """Return a batch size or plan in words: "batch size 64", "full batch", "the plan “grow”"."""
    if isinstance(kind, str):
        return f"the plan “{term_text(kind)}”"
    if kind == study.workload.n_train:
        return "full batch"
    return f"batch size {kind}"


def batch_sizes_text(study: Study, kinds: Sequence[Kind]) -> str:
    """Return batch sizes and plans in words: "batch size 32 and the plan “grow”"."""
    sizes = [kind for kind in kinds if isinstance(kind, int)]
    named = [batch_text(study, kind) for kind in kinds if isinstance(kind, str)]
    if len(sizes) == 1:
        named.insert(0, batch_text(study, sizes[0]))
    elif sizes:
        texts = [size_text(size, study.workload.n_train) for size in sizes]
        named.insert(0, f"batch sizes {listing(texts)}")
    return listing(named)


# ---- sentences


def whole_sentence(reason: Reason | None) -> str:
    """Return a reason as a sentence with a capital letter and a full stop; "" for None."""
    words = clause(reason)
    return f"{capitalized(words)}." if words else ""


def clause(reason: Reason | None) -> str:
    """Return a reason as part of a sentence, without a full stop."""
    return reason_text(reason).strip().rstrip(".")


ClaimVerdict = Literal["held", "did_not_hold", "cannot_tell", "not_tested"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sentence:
    """One result of a study, or why a result is missing, in plain words.

    Attributes:
        topic: a few words, shown as the heading of the text.
        text: one or more sentences with the result and its numbers.
        verdict: whether a claim held; None if the text does not test a claim.
        command: a complete command that does what the text proposes; "" without a proposal.
    """

    topic: str
    text: str
    verdict: ClaimVerdict | None = None
    command: str = ""
