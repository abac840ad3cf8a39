from __future__ import annotations

import csv

from tests.reference.made_up_advice import KINDS, advice_study

from batchlab.report.advice import figures as advice_figures
from batchlab.report.parts.figure_files import rows_csv
from batchlab.report.parts.figure_row import figure_rows


def test_the_rows_of_a_figure_are_a_table_with_a_column_for_each_field() -> None:
    advice = KINDS["ends_no_worse"]()
    row = next(row for row in figure_rows(advice_figures) if row.key == "a")
    figure = row.build(advice, advice_study(advice), None)

    read = list(csv.DictReader(rows_csv(figure.rows).splitlines()))

    assert len(read) == len(figure.rows)
    assert [row["kind"] for row in read] == [row["kind"] for row in figure.rows]
    point = next(row for row in read if row["kind"] == "point")
    assert float(point["low"]) <= float(point["mean"]) <= float(point["high"])
    assert "side" not in read[0]
