"""Records as HTML in a notebook, as plain dicts and lists, and as pandas data frames."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from batchlab.advice.advice import Advice
from batchlab.errors import BatchlabError
from batchlab.measure.noise import Noise
from batchlab.measure.profile import Profile
from batchlab.records.study import Study
from batchlab.report import sweep_page
from batchlab.report.advice_figures import advice_looks, answer_figure
from batchlab.report.advice_page import advice_sections
from batchlab.report.advice_rows import answer_table
from batchlab.report.cells import figure_looks
from batchlab.report.figure import Figure, SizeLook
from batchlab.report.noise import noise_sections
from batchlab.report.page import rendered
from batchlab.report.short_reports import Comparison, comparison_section, profile_section
from batchlab.report.sweep_answer import trials_table
from batchlab.report.sweep_page import answer_section, sweep_document
from batchlab.report.table import Section


def record_dict(record: Study) -> dict[str, Any]:
    """Return the document that `--json` prints for a study, with None as `store` and `report`."""
    document: dict[str, Any] = json.loads(sweep_document(record, store=None, report=None))
    return document


def data_frame(record: Advice | Study) -> Any:
    """Return a DataFrame with a row per batch size of an advice, or per trial of a study.

    Raises:
        BatchlabError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise BatchlabError(
            "to_pandas needs pandas, which is not installed: pip install pandas"
        ) from error
    table = trials_table(record) if isinstance(record, Study) else answer_table(record)
    return pandas.DataFrame(table.by_key())


_VIEW = """\
<div class="batchlab">
{% for section in sections %}
{% if section.title %}
<p><strong>{{ section.title }}</strong></p>
{% endif %}
{% for fact in section.facts %}
<p>{{ fact }}</p>
{% endfor %}
{% if section.drawing %}
<pre style="line-height: 1.2">{{ section.drawing | join("\\n") }}</pre>
{% endif %}
{% if section.picture %}
<div role="img" aria-label="{{ section.picture[1] }}">{{ section.picture[0] | safe }}</div>
{% endif %}
{% if section.table %}
<table>
<caption>{{ section.table.caption }}</caption>
<thead><tr>
{% for column in section.table.columns %}
<th scope="col">{{ column.header }}</th>
{% endfor %}
</tr></thead>
<tbody>
{% set numbers = section.table.are_numbers() %}
{% for row in section.table.texts() %}
<tr>
{% for cell in row %}
<td{% if numbers[loop.index0] %} style="text-align: right"{% endif %}>{{ cell }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
{% endif %}
{% for note in section.notes %}
<p>{{ note }}</p>
{% endfor %}
{% endfor %}
</div>
"""


def notebook_view(shown: object) -> str:
    """Return the record as HTML, answer first, without scripts, style sheets or links.

    Raises:
        TypeError: records of this class can't be shown.
    """
    return rendered(_VIEW, sections=list(_sections(shown)))


def _sections(shown: object) -> Iterator[Section]:
    match shown:
        case Advice():
            answer, *others = advice_sections(shown)
            yield answer
            yield _picture(answer_figure(shown), advice_looks(shown), "advice")
            yield from others
        case Study():
            yield answer_section(shown)
            figure = sweep_page.answer_figure(shown)
            yield _picture(figure, figure_looks(shown), shown.study_id)
        case Comparison():
            yield comparison_section(shown)
        case Profile():
            yield profile_section(shown)
        case Noise():
            yield from noise_sections(shown)
        case _:
            has_view = "an Advice, Study, Profile, Comparison or Noise has"
            raise TypeError(f"a {type(shown).__name__} has no view; {has_view}")


def _picture(figure: Figure, looks: Sequence[SizeLook], prefix: str) -> Section:
    """Return a section with the figure's first chart as SVG, or an empty section without charts."""
    from batchlab.report.chart import paper_svg

    if not figure.panels:
        return Section()
    panel = figure.panels[0]
    svg = paper_svg([panel], looks, title=figure.title, prefix=prefix)
    return Section(picture=(svg, panel.alternative))
