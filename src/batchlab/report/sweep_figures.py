"""The figures of a sweep: the results of each batch size, and the evidence for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from batchlab.measure.measurements import measurement_rows, on_request
from batchlab.records.estimate import Estimate
from batchlab.records.measurement import Measurement
from batchlab.records.study import Study
from batchlab.report.cells import (
    Cell,
    cell_label,
    cells,
    chosen_cells,
    deciding_split,
    has_plans,
    kind_fields,
    measured_curve,
    measured_once,
)
from batchlab.report.curves import MOST_MARKS, Shown, chosen_notes, curve_figure
from batchlab.report.evidence import Evidence, budget_split
from batchlab.report.figure import (
    Figure,
    Panel,
    Row,
    interval_mark,
    mark,
    seeds_row,
    size_rows,
    thinned,
)
from batchlab.report.gap import gap_figure
from batchlab.report.rates import RateTaken, rates_figure
from batchlab.report.sweep_tables import rates_table, sweep_table
from batchlab.report.text import label_text, split_label
from batchlab.words.catalogue import text

MOST_MEASURED = 60  # points per line of a measurement along training


def sweep_figures(study: Study) -> tuple[Figure, ...]:
    """Return the figure of the answer, then its evidence; that of `--measure` only if it ran."""
    chosen, metric = chosen_cells(study), study.workload.metrics[0].name
    shown: list[Shown] = [(budget_split(study), metric), ("train", metric), ("train", "loss")]
    figures = (
        answer_figure(study),
        curve_figure(study, chosen, list(dict.fromkeys(shown)), train_s=study.train_s),
        _rates_figure(study),
        cost_figure(study),
        gap_figure(study, chosen),
    )
    noise = noise_figure(study)
    return (*figures, noise) if noise.panels else figures


def answer_figure(study: Study) -> Figure:
    """Draw the final value and the training time of each batch size or plan."""
    evidence, split = Evidence.of(study), budget_split(study)
    measured, metric = evidence.final(split), evidence.metric
    finals: list[Row] = []
    times: list[Row] = []
    for cell in evidence.cells:
        place: Row = {**kind_fields(study, cell), "learning_rate": cell.shown_rate}
        if has_plans(evidence.cells):
            place["configuration"] = cell_label(study, cell)
        values = measured.values(cell)
        if not has_plans(evidence.cells):
            finals += interval_mark(
                "band", measured.mean(cell), series="mean", batch_size=cell.batch_size
            )
        finals += [place | row for row in interval_mark("point", measured.mean(cell))]
        if len(values) > 1:
            finals += [place | mark("run", value) for value in values]
        first = cell.ended_well[0]
        train_s = study.train_s(first.trial, first.steps)
        if train_s is not None:
            times += [place | row for row in interval_mark("point", Estimate.of(train_s, n=1))]
    axis = "configuration" if has_plans(evidence.cells) else "batch_size"
    title = text("final {what}", what=split_label(split, metric))
    panels = [
        Panel("a-final", title, metric, finals, axis=axis, is_metric=True),
        Panel("a-time", text("time of the training"), "equal_time_s", times, axis=axis),
    ]
    nothing = "No trial has ended well."
    if evidence.cells:
        nothing = "There is nothing to compare it with."
    return Figure(
        "a",
        "answer",
        text("What each batch size gives"),
        panels,
        notes=_answer_notes(study, finals),
        nothing=text(nothing),
        table=sweep_table(study),
    )


def _answer_notes(study: Study, finals: Sequence[Row]) -> Iterator[str]:
    yield text("Large marks are means over the seeds with their 95 % interval.")
    if any(row["kind"] == "run" for row in finals):
        yield text("Small circles are single seeds.")
    if study.workload.has_validation:
        yield text(
            "A final validation metric is the end of a line through a training's last quarter."
        )
    yield text("The time is steps × the time of a step measured alone on this machine.")


def _rates_figure(study: Study) -> Figure:
    """Draw the rates that were tried for each batch size, and the one that ends best."""
    nothing = text("No trials have been run.")
    if not study.workload.takes_rate:
        nothing = text("The command takes no learning rate.")
    of_sizes = [cell for cell in cells(study) if isinstance(cell.kind, int)]
    rates = {cell.learning_rate for cell in of_sizes}
    if len(rates) == 1:
        nothing = text(
            "One learning rate was run, so nothing can be said about others; add some with "
            "--learning-rates."
        )
    is_drawn = study.workload.takes_rate and len(rates) > 1
    taken = [
        RateTaken(cell.batch_size, cell.learning_rate, not cell.ended_well) for cell in of_sizes
    ]
    chosen = [c for c in chosen_cells(study) if isinstance(c.kind, int) and c.ended_well]
    best = {cell.batch_size: cell.learning_rate for cell in chosen}
    own = study.workload.batch_size
    start = own if own in best else min(best, default=0)
    rules = {
        rule: {size: best[start] * (size / start) ** power for size in best}
        for rule, power in (("linear", 1.0), ("sqrt", 0.5))
    }
    return rates_figure(
        taken if is_drawn else [],
        best=best if is_drawn else {},
        believed={},
        rules=rules if is_drawn else {},
        tuned_at=start,
        by_rate=_by_rate_panel(study, of_sizes),
        nothing=nothing,
        table=rates_table(study),
    )


def _by_rate_panel(study: Study, of_sizes: Sequence[Cell]) -> Panel:
    metric, split = study.workload.metrics[0].name, deciding_split(study)
    rows: list[Row] = []
    for cell in of_sizes:
        values = cell.final(study, split)
        if values:
            at: Row = {"batch_size": cell.batch_size, "learning_rate": cell.learning_rate}
            rows.append({**at, "kind": "curve", "run": "mean", "marked": True, **seeds_row(values)})
    title = text("final {what} by learning rate", what=split_label(split, metric))
    return Panel("c-final", title, metric, rows, axis="learning_rate", is_metric=True)


def cost_figure(study: Study) -> Figure:
    """Draw time per step and peak memory by batch size."""
    panels: list[Panel] = []
    notes: list[str] = []
    for measurement in measurement_rows().values():
        name = measurement.quantity.name
        if measurement.of_batch_size is None or measurement.figure != "cost":
            continue
        rows: list[Row] = []
        for size in study.batch_sizes:
            known = measurement.of_batch_size(study, size)
            if known is not None:
                middle, values = known
                rows += size_rows({"batch_size": size}, values, middle)
        panels.append(Panel(f"d-{name}", text(measurement.quantity.label), name, rows))
        notes += measurement.notes(study)
    return Figure(
        "d",
        "machine",
        text("Time per step and memory"),
        panels,
        notes=notes,
        nothing=text("Step times and memory are known of fewer than two batch sizes."),
    )


# Titles of the panels by batch size. Other measurements of models are drawn along training.
_BY_SIZE = {"at_the_start": "{what}, at the start", "at_the_end": "{what}, at the end"}


def noise_figure(study: Study) -> Figure:
    """Draw the measurements of the models along training, or by batch size at its start or end."""
    chosen = chosen_cells(study)
    rows = [row for row in measurement_rows().values() if row.of_batch_size is None and row.figure]
    panels = [_measured_panel(study, chosen, row) for row in rows]
    shown = [row for row, panel in zip(rows, panels, strict=True) if panel.has_marks]
    return Figure(
        "f",
        "noise",
        text("What the noise does"),
        panels,
        notes=_noise_notes(study, chosen, shown),
        nothing=text("No model was measured on its way."),
    )


def _measured_panel(study: Study, chosen: tuple[Cell, ...], measurement: Measurement) -> Panel:
    name = measurement.quantity.name
    title = _BY_SIZE.get(measurement.figure or "")
    along = _along_rows(study, chosen, name)
    rows = along if title is None else _by_size_rows(study, chosen, measurement)
    return Panel(
        f"f-{name}",
        text(title or "{what}", what=label_text(name)),
        name,
        tuple(rows),
        axis="step" if title is None else "batch_size",
    )


def _along_rows(study: Study, chosen: tuple[Cell, ...], name: str) -> Iterator[Row]:
    """Yield rows along training, without step 0, because the axis is logarithmic."""
    for cell in chosen:
        taken = [place for place in measured_curve(cell, name) if place["step"]]
        shown = thinned(taken, MOST_MEASURED)
        marked = thinned(shown, MOST_MARKS)
        for place in shown:
            line: Row = {**kind_fields(study, cell), "kind": "curve", "run": "mean"}
            yield {**line, **place, "marked": place in marked}


def _by_size_rows(
    study: Study, chosen: tuple[Cell, ...], measurement: Measurement
) -> Iterator[Row]:
    """Yield rows by batch size, and the dashed line that theory predicts."""
    at_the_start = measurement.figure == "at_the_start"
    values = {}
    for cell in chosen:
        if isinstance(cell.kind, str):  # a plan has no place on the axis of batch sizes
            continue
        seen = measured_once(cell, measurement.quantity.name, at_the_start=at_the_start)
        if not seen:
            continue
        middle = values[cell.batch_size] = measurement.of_seeds(seen)
        if middle != 0:  # the axis cannot show 0
            yield from size_rows({"batch_size": cell.batch_size}, seen, middle)
    if measurement.expected is not None:
        for size, value in sorted(measurement.expected(values, study).items()):
            yield mark("rule", value, series="expected", batch_size=size)


def _noise_notes(
    study: Study, chosen: tuple[Cell, ...], shown: Sequence[Measurement]
) -> Iterator[str]:
    drawn = replace(study, records=tuple(record for cell in chosen for record in cell.records))
    yield from (note for row in shown for note in row.notes(drawn))
    # Sharpness in other boxes is for comparing with papers. Most readers need only one box.
    asked_for = [name for name in on_request() if not name.startswith("sharpness_")]
    missing = [name for name in asked_for if name not in {row.quantity.name for row in shown}]
    if missing:
        yield text(
            "Not measured here: {missing}. {command} measures them at the start and where an epoch "
            "ends.",
            missing=", ".join(map(label_text, missing)),
            command=" ".join(["batchlab sweep", *(f"--measure {name}" for name in missing)]),
        )
    yield from chosen_notes(chosen)
