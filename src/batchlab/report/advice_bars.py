"""Bars: the objective's figure by batch size, drawn in characters for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from batchlab.advice.advice import Advice, Candidate
from batchlab.report.advice_rows import ShownCost, has_rate_of, named_cost, own_cost, tuned_cost
from batchlab.report.advice_words import named_text, objective_words, reference_text, target_text
from batchlab.report.text import quantity_text, text_width, wrapped_lines
from batchlab.words.catalogue import capitalized, text

WIDTH = 100
_LONGEST = 44  # characters
_SHORTEST = 8
_AROUND = 2 + 2 + 2  # what stands between size, bar, value and note
_SIZE = 7
_SMALL_SIZE = 5
_EIGHTHS = " ▏▎▍▌▋▊▉"


@dataclass(frozen=True, slots=True)
class _Bar:
    batch_size: int
    figure: float
    note: str
    is_bound: bool = False


def bars(advice: Advice) -> list[str]:
    """A title and a bar a batch size, from 0 on, so that lengths can be compared.

    Returns:
        Nothing for a metric, whose differences such bars would hide, or of fewer than two figures.
    """
    found = list(_bars(advice))
    if advice.target is None or advice.objective == "quality" or len(found) < 2:
        return []
    words = objective_words(advice)
    title = text(
        "{figure}, {target}, by batch size:",
        figure=capitalized(words.figure),
        target=target_text(advice.target),
    )
    longest = max(bar.figure for bar in found)
    values = [_value(words.quantity, bar) for bar in found]
    wide = max(map(len, values))
    size, room = _SIZE, _room(found, wide, _SIZE)
    if room < _SHORTEST:  # the notes that are not needed to tell the bars apart go first
        own = text("at its tuned rate")
        found = [replace(bar, note="") if bar.note == own else bar for bar in found]
        size = max(_SMALL_SIZE, *(len(str(bar.batch_size)) for bar in found))
        room = max(_SHORTEST, _room(found, wide, size))
    lines = [
        f"{bar.batch_size:>{size}}  {_drawn(bar, longest, room):<{room}}  {value:>{wide}}  "
        f"{bar.note}".rstrip()
        for bar, value in zip(found, values, strict=True)
    ]
    return [*wrapped_lines(title, text_width(WIDTH)), *lines]


def _room(found: Sequence[_Bar], value_width: int, size_width: int) -> int:
    """The characters that the longest bar may have beside everything else of its line."""
    notes = max(len(bar.note) for bar in found)
    return min(_LONGEST, text_width(WIDTH) - size_width - value_width - notes - _AROUND)


def _bars(advice: Advice) -> Iterator[_Bar]:
    """A bar a batch size; of yours two where it was tuned; what was verified as it was then."""
    yours, own, named = reference_text(advice, "short"), own_cost(advice), named_cost(advice)
    for candidate in advice.candidates:
        is_own = candidate.batch_size == advice.reference.batch_size
        at_own_rate = is_own and has_rate_of(candidate, advice.reference)
        if is_own and not at_own_rate and own is not None:
            yield _Bar(candidate.batch_size, own.value, yours, own.is_bound)
        if candidate.cost.estimate is None:
            continue
        found: ShownCost | None = None
        note = yours if at_own_rate else _note(advice, candidate)
        if at_own_rate:
            found = own
        elif note == named_text(advice):
            found = named
        elif is_own:
            found = tuned_cost(advice)
        if found is None:
            yield _Bar(candidate.batch_size, candidate.cost.estimate, note)
        else:
            yield _Bar(candidate.batch_size, found.value, note, found.is_bound)


def _note(advice: Advice, candidate: Candidate) -> str:
    named = advice.named
    if named is not None and named.batch_size == candidate.batch_size:
        if not has_rate_of(candidate, named):
            return ""
        return named_text(advice)
    if candidate.batch_size == advice.reference.batch_size:
        return text("at its tuned rate")
    return ""


def _value(quantity: str, bar: _Bar) -> str:
    value = quantity_text(quantity, bar.figure)
    return f"> {value}" if bar.is_bound else value


def _drawn(bar: _Bar, longest: float, room: int) -> str:
    """As long as its share of the longest, in eighths of a character; a bound ends in an arrow."""
    eighths = max(1, round(bar.figure / longest * room * 8))
    if bar.is_bound:
        return "█" * max(0, eighths // 8 - 1) + "▶"
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
