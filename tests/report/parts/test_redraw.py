from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.reference.made_up import made_up_curves, made_up_study
from tests.reference.made_up_advice import KINDS, advice_study

from batchlab.report.advice import figures as advice_figures
from batchlab.report.parts.charts.canvas import PAGE
from batchlab.report.parts.figure import Figure
from batchlab.report.parts.figure_row import figure_rows
from batchlab.report.parts.redraw import Redraw, redraw, rows_csv
from batchlab.report.parts.vega import specification
from batchlab.report.sweep import figures as sweep_figures


def figures() -> Iterator[tuple[str, Figure]]:
    advice = KINDS["ends_no_worse"]()
    for row in figure_rows(advice_figures):
        yield f"advice-{row.key}", row.build(advice, advice_study(advice), None)
    study = made_up_study(
        batch_sizes=(64, 256),
        learning_rates=(0.01, 0.1),
        seeds=2,
        epochs=20,
        curves=lambda size, rate, seed: made_up_curves(rate=2.0 if size == 64 else 0.03),
    )
    for row in figure_rows(sweep_figures):
        yield f"sweep-{row.key}", row.build(study)


SHOWN = {name: figure for name, figure in figures() if figure.panels}


def taken_along(figure: Figure) -> Redraw:
    specs = {p.key: specification(p.plot(canvas=PAGE), PAGE) for p in figure.panels}
    return redraw(figure, specs, source="Measured.")


# What the code would show on a screen: a line or a dot a batch size of each panel, as JSON.
TELL = """
import json
drawn = [[[line.get_label(), *map(float, line.get_ydata())] for line in axes.lines]
         for axes in figure.axes]
print(json.dumps(drawn))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", SHOWN)
def test_the_code_of_a_figure_draws_its_rows_again(name: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("pandas")
    figure = SHOWN[name]
    again = taken_along(figure)
    (tmp_path / again.file_name).write_text(rows_csv(figure.rows))
    (tmp_path / "draw.py").write_text(again.code + TELL)

    done = subprocess.run(
        [sys.executable, "draw.py"],
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "Agg", "MPLCONFIGDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    import json

    panels = json.loads(done.stdout)
    assert len(panels) == len(figure.panels)
    known = {row["mean"] for row in figure.rows if "mean" in row}
    drawn = {str(label) for panel in panels for label, *_ in panel}
    for panel in panels:
        values = {value for _, *line in panel for value in line}
        assert values
        assert values <= known
    assert drawn == {row["batch"] for row in figure.rows if "batch" in row and "mean" in row}


def test_the_rows_of_a_figure_are_a_table_with_a_column_for_each_field(tmp_path: Path) -> None:
    figure = SHOWN["advice-a"]

    read = list(csv.DictReader(rows_csv(figure.rows).splitlines()))

    assert len(read) == len(figure.rows)
    assert [row["kind"] for row in read] == [row["kind"] for row in figure.rows]
    point = next(row for row in read if row["kind"] == "point")
    assert float(point["low"]) <= float(point["mean"]) <= float(point["high"])
    assert "side" not in read[0]


def test_a_caption_is_title_notes_and_where_it_is_from() -> None:
    figure = SHOWN["advice-a"]

    caption = taken_along(figure).caption

    assert caption.startswith(f"{figure.title}. {figure.notes[0]}")
    assert caption.endswith(" Measured.")
