"""SideBySide: what the user has beside what is named: settings, time, quality and memory."""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.advice.advice import Advice, Configuration, Ending
from batchlab.report.advice.end_text import end_text
from batchlab.report.advice.named_text import named_text
from batchlab.report.advice.objective_words import objective_words, target_text
from batchlab.report.advice.reference_words import reference_words
from batchlab.report.advice.shown_costs import named_cost, own_cost
from batchlab.report.advice.told import is_same
from batchlab.report.parts.quantity_text import quantity_text
from batchlab.report.parts.table import Column, Table
from batchlab.words.catalogue import number_text, text
from batchlab.words.numbers import UNKNOWN

_Row = tuple[str, str, str]


def side_by_side(advice: Advice) -> Table | None:
    """What changes, and what of it comes out; None: nothing else than the user's own is named."""
    named = advice.named
    if named is None or is_same(named, advice.reference):
        return None
    yours = reference_words(advice).short
    certain = named_text(advice)
    return Table(
        caption=text("What changes"),
        columns=(
            Column(key="quantity", quantity="", label=" "),
            Column(key="yours", quantity="", label=yours),
            Column(key="named", quantity="", label=certain),
        ),
        rows=tuple(_rows(advice, named)),
    )


def _rows(advice: Advice, named: Configuration) -> Iterator[_Row]:
    own = advice.reference
    yield text("batch size"), str(own.batch_size), _batch_size(named)
    yield text("learning rate"), _rate(own), _rate(named)
    yield from _cost(advice)
    yield from _end(advice, named)
    yield from _memory(advice, named)


def _batch_size(found: Configuration) -> str:
    if found.accumulation_steps == 1:
        return str(found.batch_size)
    return text(
        "{size} ({n} × {micro})",
        size=found.batch_size,
        n=found.accumulation_steps,
        micro=found.micro_batch_size,
    )


def _rate(found: Configuration) -> str:
    rate = number_text(found.learning_rate, "rate")
    if not found.cool_down:
        return rate
    return text("{rate}, to 0 over the last {part:percent}", rate=rate, part=found.cool_down)


def _cost(advice: Advice) -> Iterator[_Row]:
    """The figure that was asked to be least, or for quality the metric itself."""
    named = named_cost(advice)
    if named is None:
        return
    words, own = objective_words(advice), own_cost(advice)
    label = words.figure_text
    if advice.target is not None:
        label = text("{figure}, {target}", figure=label, target=target_text(advice.target))
    yours = UNKNOWN if own is None else own.text(words.quantity)
    yield label, yours, named.text(words.quantity, with_interval=True)


def _end(advice: Advice, named: Configuration) -> Iterator[_Row]:
    """Where whole trainings end, of what is named if it was followed to its end."""
    endings = advice.endings
    if endings is None:
        return
    followed = (endings.recommended, endings.reference, endings.reference_tuned)
    own = next((each for each in followed if each is not None and is_same(each, named)), None)
    if own is None or not own.found:
        return

    def shown(ending: Ending) -> str:
        return end_text(endings, ending) if ending.found else UNKNOWN

    label = text("{metric} after {epochs:.3g} epochs", metric=endings.metric, epochs=own.epochs)
    yield label, shown(endings.reference), shown(own)


def _memory(advice: Advice, named: Configuration) -> Iterator[_Row]:
    found = [advice.candidate(each.batch_size) for each in (advice.reference, named)]
    peaks = [None if each is None else each.peak_bytes for each in found]
    if peaks[1] is not None:
        yours, other = (quantity_text("peak_bytes", peak) for peak in peaks)
        yield text("peak memory"), yours, other
