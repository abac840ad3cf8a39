"""Bars: the objective's figure by batch size, drawn in characters for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.advice.advice import Advice
from batchlab.report.advice_rows import ShownCost, has_rate_of, named_cost, own_cost, tuned_cost
from batchlab.report.advice_words import named_text, objective_words, reference_text, target_text
from batchlab.report.text import quantity_text, text_width, wrapped_lines
from batchlab.words.catalogue import capitalized, text

WIDTH = 100
_LONGEST, _SHORTEST = 44, 8  # characters of the longest bar
_SIZE = 5
_BETWEEN = 2 + 2 + 2  # between size, bar, value and note
_EIGHTHS = " ▏▎▍▌▋▊▉"


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
    values = [_value(words.quantity, cost) for _, _, cost in found]
    size, wide = max(_SIZE, *(len(str(n)) for n, _, _ in found)), max(map(len, values))
    beside = size + wide + max(len(note) for _, note, _ in found) + _BETWEEN
    room = max(_SHORTEST, min(_LONGEST, text_width(WIDTH) - beside))
    longest = max(cost.value for _, _, cost in found)
    lines = [
        f"{n:>{size}}  {_drawn(cost, longest, room):<{room}}  {value:>{wide}}  {note}".rstrip()
        for (n, note, cost), value in zip(found, values, strict=True)
    ]
    return [*wrapped_lines(title, text_width(WIDTH)), *lines]


def _bars(advice: Advice) -> Iterator[tuple[int, str, ShownCost]]:
    """Size, note and cost; yours twice where it was tuned; what was verified as it was then."""
    reference, named = advice.reference, advice.named
    yours, own = reference_text(advice, "short"), own_cost(advice)
    for candidate in advice.candidates:
        size = candidate.batch_size
        note, cost = "", None
        if size == reference.batch_size and has_rate_of(candidate, reference):
            note, cost = yours, own
        elif size == reference.batch_size:
            if own is not None:
                yield size, yours, own
            note, cost = text("tuned rate"), tuned_cost(advice)
        if named is not None and size == named.batch_size and note != yours:
            is_named = has_rate_of(candidate, named)
            note = named_text(advice) if is_named else ""
            cost = named_cost(advice) if is_named else cost
        if candidate.cost.estimate is not None:
            yield size, note, cost or ShownCost(estimate=candidate.cost)


def _value(quantity: str, cost: ShownCost) -> str:
    value = quantity_text(quantity, cost.value)
    return f"> {value}" if cost.is_bound else value


def _drawn(cost: ShownCost, longest: float, room: int) -> str:
    """As long as its share of the longest, in eighths of a character; a bound ends in an arrow."""
    eighths = max(1, round(cost.value / longest * room * 8))
    if cost.is_bound:
        return "█" * max(0, eighths // 8 - 1) + "▶"
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
