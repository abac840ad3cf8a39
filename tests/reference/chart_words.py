"""What a reader sees or hears of a figure beside its rows: titles, notes and words of charts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from batchlab.report.parts.charts.canvas import PAGE, PAPER
from batchlab.report.parts.figure import Figure
from batchlab.report.parts.vega import specification

_LITERAL = re.compile(r'"([^"]+)"')


def figure_words(figure: Figure) -> Iterator[str]:
    """The words of a figure and of its charts, on a page and on paper."""
    yield from (figure.title, *figure.notes, figure.absent or "")
    for panel in figure.panels:
        yield from (panel.title, panel.alternative)
        for canvas in (PAGE, PAPER):
            yield from chart_words(specification(panel.plot(canvas=canvas), canvas))


def chart_words(spec: object) -> Iterator[str]:
    """The words of a chart: titles of axes, legends, tooltips, and text that is drawn."""
    if isinstance(spec, list):
        for part in spec:
            yield from chart_words(part)
    elif isinstance(spec, dict):
        for key, value in spec.items():
            if key in ("title", "text") and isinstance(value, str):
                yield value
            elif key == "calculate":  # the words of a tooltip, but for the marks of its numbers
                yield from (words for words in _LITERAL.findall(value) if words[0] != "@")
            else:
                yield from chart_words(value)
