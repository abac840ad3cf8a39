"""Records as HTML in a notebook, and as pandas data frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batchlab.advice.advice import Advice
from batchlab.measure.noise import Noise
from batchlab.measure.profile import Profile
from batchlab.records.study import Study
from batchlab.report import sweep_page
from batchlab.report.advice_figures import advice_looks, answer_figure
from batchlab.report.advice_page import advice_sections
from batchlab.report.advice_rows import answer_table
from batchlab.report.cells import figure_looks
from batchlab.report.figure import Figure, SizeLook
from batchlab.report.page import rendered
from batchlab.report.short_reports import (
    Comparison,
    comparison_section,
    noise_section,
    profile_section,
)
from batchlab.report.sweep_answer import trials_table
from batchlab.report.sweep_page import answer_section


def data_frame(record: Advice | Study) -> Any:
    """Return a DataFrame with a row per batch size of an advice, or per trial of a study."""
    import pandas

    table = trials_table(record) if isinstance(record, Study) else answer_table(record)
    return pandas.DataFrame(table.by_key())


def notebook_view(shown: Advice | Study | Profile | Comparison | Noise) -> str:
    """Return the record as HTML, answer first, without scripts, style sheets or links."""
    picture = None
    match shown:
        case Advice():
            sections = advice_sections(shown)
            picture = _picture(answer_figure(shown), advice_looks(shown), "advice")
        case Study():
            sections = [answer_section(shown)]
            figure = sweep_page.answer_figure(shown)
            picture = _picture(figure, figure_looks(shown), shown.study_id)
        case Comparison():
            sections = [comparison_section(shown)]
        case Profile():
            sections = [profile_section(shown)]
        case Noise():
            sections = [noise_section(shown)]
    return rendered("notebook.html.j2", sections=sections, picture=picture)


def _picture(figure: Figure, looks: Sequence[SizeLook], prefix: str) -> tuple[str, str] | None:
    from batchlab.report.chart import paper_svg

    if not figure.panels:
        return None
    panel = figure.panels[0]
    return paper_svg([panel], looks, title=figure.title, prefix=prefix), panel.alternative
