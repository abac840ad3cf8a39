"""Screen, page, notebook and JSON show the same numbers, from one table of rows."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html.parser import HTMLParser

import pytest
from tests.reference.by_day import by_day
from tests.reference.made_up_advice import KINDS, KINDS_BY_DAY, advice_study
from tests.reference.pages import SWEEPS

from batchlab.report.advice_page import advice_text, render_advice_html
from batchlab.report.advice_rows import answer_rows, answer_table
from batchlab.report.sweep_answer import sweep_table
from batchlab.report.sweep_page import html_page, text_report


class _Cells(HTMLParser):
    """The cells of a table of a page, a list per row."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._in_cell = False
        self.feed(html.partition("<tbody>")[2].partition("</tbody>")[0])

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append("")
        self._in_cell = tag == "td"

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1][-1] += data


def on_page(html: str) -> list[str]:
    """The rows of the table of the answer."""
    return words(_Cells(html[html.index('id="table-compared"') :]).rows)


def words(rows: Iterable[Iterable[str]]) -> list[str]:
    """Each row in one line, its mark wherever it stood."""
    found = [sorted(filter(None, map(str.strip, row)), key="▸".__ne__) for row in rows]
    return [" ".join(row) for row in found]


@pytest.mark.parametrize("kind", by_day(KINDS, KINDS_BY_DAY))
def test_every_row_of_an_advice_is_the_same_everywhere(kind: str, undrawn: None) -> None:
    advice = KINDS[kind]()
    study, table = advice_study(advice), answer_table(advice)
    tried = [row.is_tried for row in answer_rows(advice)]
    shown = [row for row, is_tried in zip(table.texts(), tried, strict=True) if is_tried]

    assert words(_Cells(advice._repr_html_()).rows) == words(table.texts())
    assert on_page(render_advice_html(advice, study, None)) == words(shown) != []
    # The screen has no room for test data, and for a few of the rows.
    text = advice_text(advice, study=study, report=None)
    screen = [" ".join(line.split()) for line in text.splitlines()]
    at = [i for i, column in enumerate(table.columns) if column.key != "end_test"]
    narrow = words([row[i] for i in at] for row in shown)
    assert len(set(narrow) & set(screen)) >= min(len(narrow), 8)


@pytest.mark.parametrize("kind", KINDS)
def test_the_figures_of_the_table_are_those_of_the_json(kind: str) -> None:
    advice = KINDS[kind]()
    document = json.loads(json.dumps(advice.to_dict()))
    by_size = {each["batch_size"]: each for each in document["candidates"]}
    table = answer_table(advice).by_key()

    for i, size in enumerate(table["batch_size"]):
        candidate, is_named = by_size[size], table.get("named", {i: ""})[i]
        assert table["step_s"][i] == candidate["step_s"]["estimate"]
        assert table["peak_bytes"][i] == candidate["peak_bytes"]
        is_its_rate = table["learning_rate"][i] == candidate["learning_rate"]
        cost = candidate["cost"]
        if is_its_rate and "cost" in table and not is_named and cost["estimate"] is not None:
            assert table["cost"][i] == cost["estimate"]
            assert table["cost_low"][i] == cost["low"]


@pytest.mark.parametrize("name", SWEEPS)
def test_every_row_of_a_sweep_is_the_same_everywhere(name: str, undrawn: None) -> None:
    study = SWEEPS[name]()
    rows = words(sweep_table(study).texts())

    assert on_page(html_page(study)) == rows
    assert words(_Cells(study._repr_html_()).rows) == rows
    said = " ".join(text_report(study).split())
    final = "validation" if study.workload.has_validation else "test"
    column = [each.key for each in sweep_table(study).columns].index(final)
    for row in sweep_table(study).texts():
        assert row[column] in said
