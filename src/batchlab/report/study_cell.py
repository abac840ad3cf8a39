"""StudyCell: what a notebook shows of a sweep: what did best, the batch sizes, their curves."""

from __future__ import annotations

from batchlab.records.study import Study
from batchlab.report.parts.charts.canvas import PAPER
from batchlab.report.parts.figure_row import figure_rows
from batchlab.report.parts.held_out import deciding_split
from batchlab.report.parts.quantity_text import label_text
from batchlab.report.parts.table import Column, Table
from batchlab.report.parts.term_text import split_label
from batchlab.report.parts.vega import specification, still_svg
from batchlab.report.sweep import figures as sweep_figures
from batchlab.report.sweep.cells import chosen_cells
from batchlab.report.sweep.conclusion import conclusion
from batchlab.words.catalogue import text


def study_lines(study: Study) -> tuple[str, tuple[str, ...]]:
    """What the page begins with: which batch size did best, and what else was compared."""
    found = conclusion(study)
    return found.headline, (found.lead,) if found.lead else ()


def study_table(study: Study) -> Table:
    """A row a batch size, at the best of its learning rates."""
    metric, split = study.workload.metrics[0].name, deciding_split(study)
    rows = []
    for cell in chosen_cells(study):
        final, timing = cell.final(split, metric), study.timing(cell.batch_size)
        rows.append(
            (
                cell.batch_size,
                cell.learning_rate,
                len(cell.ended_well),
                None if final is None else final.mean,
                None if timing is None else timing.step_s,
                study.peak_bytes(cell.batch_size),
            )
        )
    return Table(
        caption=text("By batch size, {what} as a mean over seeds", what=split_label(split, metric)),
        columns=(
            Column(key="batch_size", quantity="batch_size"),
            Column(key="learning_rate", quantity="learning_rate"),
            Column(key="n", quantity="n", label=text("seeds")),
            Column(key=metric, quantity=metric, label=label_text(metric)),
            Column(key="step_s", quantity="step_s", label=text("step")),
            Column(key="peak_bytes", quantity="peak_bytes", label=text("memory")),
        ),
        rows=tuple(rows),
    ).without_empty_columns()


def study_curves(study: Study) -> tuple[str, str] | None:
    """The deciding metric by epoch as a still SVG, and in words; None: nothing was seen."""
    row = figure_rows(sweep_figures)[0]
    figure, split = row.build(study), deciding_split(study)
    for panel in figure.panels:
        if panel.key.startswith(f"{figure.key}-{split}-"):
            chart = panel.plot(canvas=PAPER).properties(title=panel.title)
            rows = {figure.data: figure.rows}
            drawn = still_svg(specification(chart, PAPER), rows, prefix=study.study_id)
            return drawn, panel.alternative
    return None
