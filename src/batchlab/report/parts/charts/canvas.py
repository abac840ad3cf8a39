"""Canvas: where a chart is drawn, and what that asks of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchlab.report.parts.palette import Look

if TYPE_CHECKING:
    import altair as alt

SIZE = (400, 280)  # pixels of a panel, axes and titles within


@dataclass(frozen=True, kw_only=True, slots=True)
class Canvas:
    """Where a chart is drawn, and the colours there that stand for no batch size.

    Attributes:
        text: colour of labels and titles.
        faint: colour of grid lines.
        in_page: whether colours are CSS variables that follow the reader's colour scheme, and a
            script answers the pointer.
    """

    text: str
    faint: str
    in_page: bool

    def of(self, look: Look) -> str:
        """The colour of a batch size."""
        return f"var({look.css_name})" if self.in_page else look.light

    def sized(self, chart: alt.LayerChart | alt.FacetChart) -> alt.LayerChart | alt.FacetChart:
        """The chart in its size: on the page it fits its box, on paper all frames are equal."""
        import altair as alt

        if not self.in_page:
            return chart.properties(width=SIZE[0] - 80, height=SIZE[1] - 60)
        fit = alt.AutoSizeParams(type="fit", contains="padding")
        return chart.properties(width=SIZE[0], height=SIZE[1], autosize=fit)


PAGE = Canvas(text="var(--text)", faint="var(--grid)", in_page=True)
PAPER = Canvas(text="#1b1f24", faint="#d5d9df", in_page=False)
