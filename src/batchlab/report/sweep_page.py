"""The reports of a sweep: HTML page with figures, text for a terminal, CSV tables and JSON."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

from batchlab.advice.advice import Source
from batchlab.belief.cells import Cell, budget_split, cells, chosen_cells, deciding_split, has_plans
from batchlab.belief.evidence import Evidence
from batchlab.measure.measurements import measurement_rows
from batchlab.records.measurement import Measurement
from batchlab.records.study import Study
from batchlab.records.trial import TrialRecord
from batchlab.report.cells import (
    Shown,
    cell_fields,
    cell_label,
    curve_figure,
    figure_looks,
    gap_figure,
    machine_figure,
    mean_rows,
    measured_text,
    observations_table,
    rates_figure,
    seeds_notes,
    trial_counts,
)
from batchlab.report.figure import (
    Figure,
    Panel,
    Row,
    interval_mark,
    kinds_of,
    mark,
    seeds_row,
    size_rows,
)
from batchlab.report.page import render_page
from batchlab.report.sayings import claim_sentences
from batchlab.report.sweep_answer import (
    TrialDocument,
    conclusion,
    mean_train_s,
    sentences,
    sweep_table,
    trial_documents,
    trials_table,
)
from batchlab.report.table import MOST_NOTES, Section, Table, sections_text
from batchlab.report.text import in_its_unit, label_text, quantity_text, split_label, whole_sentence
from batchlab.words.catalogue import sentence, term_text, text
from batchlab.words.document import document_text

# ---- JSON


class SweepDocument(Source, frozen=True, kw_only=True):
    """The document that `batchlab sweep --json` prints."""

    command: str = "sweep"
    spent_s: float
    trials: tuple[TrialDocument, ...]


@in_its_unit
def sweep_document(study: Study, *, store: Path | None = None, report: Path | None = None) -> str:
    """Return the study as one JSON document, with times in seconds and memory in bytes."""
    document = SweepDocument(
        command_line=study.command,
        study=study.study_id,
        workload=study.workload,
        environment=dict(study.environment),
        store=None if store is None else str(store),
        report=None if report is None else str(report),
        spent_s=study.spent_s,
        trials=trial_documents(study),
    )
    return document_text(document)


# ---- files


@in_its_unit
def sweep_files(study: Study) -> dict[str, Table]:
    """Return the tables to export: the trials, and every observation in long format."""
    return {"trials": trials_table(study), "observations": observations_table(study)}


# ---- a terminal


@in_its_unit
def text_report(study: Study) -> str:
    """Return the answer on one screen: the best batch size, a row per batch size, and notes."""
    shown = answer_section(study)
    if shown.table is not None:
        hidden = {"generalization_gap", "test"} - {budget_split(study)}
        shown = replace(shown, table=shown.table.without(*hidden))
    notes = map(attrgetter("text"), sentences(study)[:MOST_NOTES])
    facts = (*notes, *claims_text(Evidence.of(study)))
    said = sections_text((shown, Section(facts=facts)))
    return f"{said}\n{trial_counts(study)}\nCommand: {study.command}\n"


def answer_section(study: Study) -> Section:
    """Return the answer: the best batch size or plan, and a table with a row for each."""
    headline, lead = conclusion(study)
    section = Section(title=headline, facts=tuple(filter(None, [lead])))
    if study.records:
        section = replace(section, table=sweep_table(study))
    return section


def claims_text(evidence: Evidence) -> Iterator[str]:
    """Yield one line with the verdict on each tested claim, or nothing if no claim was tested."""
    tested = [claim for claim in claim_sentences(evidence) if claim.verdict != "not_tested"]
    if tested:
        claims = [f"“{claim.topic}” {term_text(str(claim.verdict))}" for claim in tested]
        yield f"Folklore: {', '.join(claims)}."


# ---- figures


def sweep_figures(study: Study) -> tuple[Figure, ...]:
    """Return the figure of the answer, the figures of evidence, and any figure for `--measure`."""
    chosen, metric = chosen_cells(study), study.workload.metrics[0].name
    shown: list[Shown] = [(budget_split(study), metric), ("train", metric), ("train", "loss")]
    figures = (
        answer_figure(study),
        curve_figure(
            study, chosen, list(dict.fromkeys(shown)), train_s=study.train_s, target=study.target
        ),
        _rates_figure(study),
        _machine_figure(study),
        gap_figure(study, chosen),
    )
    measured = measured_figure(study)
    return (*figures, measured) if measured.panels else figures


def answer_figure(study: Study) -> Figure:
    """Draw the final value and the training time of each batch size or plan."""
    evidence, split = Evidence.of(study), budget_split(study)
    ends, metric = evidence.ends(split), evidence.metric
    axis = "configuration" if has_plans(evidence.cells) else "batch_size"
    finals: list[Row] = []
    times: list[Row] = []
    for cell in evidence.cells:
        place: Row = {**cell_fields(cell), "configuration": cell_label(study, cell)}
        place["learning_rate"] = cell.shown_rate
        values, mean = ends.values(cell), ends.mean(cell)
        finals += [place | row for row in interval_mark("point", mean)]
        if len(values) > 1:
            finals += [place | mark("run", value) for value in values]
        if axis == "batch_size":
            finals += interval_mark("band", mean, series="mean", batch_size=cell.batch_size)
        train_s = mean_train_s(study, cell)
        if train_s is not None:
            times.append(place | mark("point", train_s))
    title = f"final {measured_text(ends)}"
    panels = [
        Panel("a-final", title, metric, finals, axis=axis, is_metric=True),
        Panel("a-time", "training time", "equal_time_s", times, axis=axis),
    ]
    title, notes = "What each batch size gives", _answer_notes(study, finals)
    return Figure("a", "answer", title, panels, notes=notes, table=sweep_table(study))


def _answer_notes(study: Study, finals: Sequence[Row]) -> Iterator[str]:
    yield "Large marks: means over the seeds, with 95 % intervals."
    if "run" in kinds_of(finals):
        yield "Small circles: single seeds."
    if study.workload.has_validation:
        yield sentence("final_is_line")
    yield "Time: steps × the time of a step, measured with nothing else running."


def _rates_figure(study: Study) -> Figure:
    best: dict[int, float] = {}
    for cell in chosen_cells(study):
        if cell.ended_well and isinstance(cell.kind, int):
            best[cell.kind] = cell.learning_rate
    start = study.workload.batch_size
    if start not in best:
        start = min(best, default=0)
    by_rate = _by_rate_panel(study)
    return rates_figure(study, best=best, start=start, believed={}, by_rate=by_rate)


def _by_rate_panel(study: Study) -> Panel:
    metric, split = study.workload.metrics[0].name, deciding_split(study)
    rows: list[Row] = []
    for cell in cells(study):
        values = cell.final(study, split)
        if values and isinstance(cell.kind, int):
            at: Row = {"batch_size": cell.batch_size, "learning_rate": cell.learning_rate}
            rows.append({**at, "kind": "curve", "run": "mean", "marked": True, **seeds_row(values)})
    title = f"final {split_label(split, metric)} by learning rate"
    return Panel("c-final", title, metric, rows, axis="learning_rate", is_metric=True)


# ---- measurements

# The last words of a measurement's panel title, by the measurement's `figure`.
_TITLES = {"along_training": "", "at_the_start": ", at the start", "at_the_end": ", at the end"}


def _machine_figure(study: Study) -> Figure:
    times: list[Row] = []
    peaks: list[Row] = []
    for size in study.batch_sizes:
        timing, peak = study.timing(size), study.peak_bytes(size)
        if timing is not None:
            blocks = [block_s / timing.block_steps for block_s in timing.block_s]
            times += size_rows({"batch_size": size}, blocks, timing.step_s)
        if peak:
            peaks += size_rows({"batch_size": size}, (peak,))
    memory = "the peak of the process above an idle one" if peaks else "not reported by this device"
    return machine_figure(times, peaks, (*_step_time_notes(study), f"Memory: {memory}."))


def _step_time_notes(study: Study) -> Iterator[str]:
    if not study.timings:
        yield text("Step time: not measured separately.")
        return
    devices = ", ".join(sorted(set(map(attrgetter("device"), study.timings))))
    threads = ", ".join(map(str, sorted(set(map(attrgetter("threads"), study.timings)))))
    yield sentence("ran_alone", where=f" on {devices}, threads: {threads}")
    yield "Large marks: medians over blocks of steps. Small circles, bars: the blocks, their range."


def measured_figure(study: Study) -> Figure:
    """Draw each `--measure` quantity by step, or its value at the start or end by batch size."""
    chosen = chosen_cells(study)
    panels: list[Panel] = []
    notes: list[str] = []
    for measurement in measurement_rows().values():
        if measurement.figure is None:
            continue
        name = measurement.quantity.name
        rows, axis = list(_by_size_rows(chosen, measurement)), "batch_size"
        if measurement.figure == "along_training":
            rows, axis = [], "step"
            for cell in chosen:
                by_seed = [_measured_by_step(record, name) for record in cell.ended_well]
                rows += mean_rows(cell, cell_fields(cell), by_seed)
        title = label_text(name) + _TITLES[measurement.figure]
        panels.append(Panel(f"f-{name}", title, name, rows, axis=axis))
        if panels[-1].has_marks:
            notes += map(whole_sentence, measurement.notes)
    notes += seeds_notes(chosen)
    return Figure("f", "noise", "What the noise does", panels, notes=notes)


def _measured_by_step(record: TrialRecord, name: str) -> dict[int, float]:
    values = {}
    for evaluation in record.evaluations:
        value = evaluation.measurement(name)
        if value is not None:
            values[evaluation.step] = value
    return values


def _by_size_rows(chosen: Sequence[Cell], measurement: Measurement) -> Iterator[Row]:
    """Yield rows of a measurement by batch size."""
    for cell in chosen:
        values = _at_one_end(cell, measurement)
        middle = statistics.fmean(values or [0.0])
        if isinstance(cell.kind, int) and middle:  # a logarithmic axis can't show 0
            yield from size_rows({"batch_size": cell.kind}, values)


def _at_one_end(cell: Cell, measurement: Measurement) -> list[float]:
    """Return a measurement's values at the start or the end of a configuration's trials."""
    is_at_start = measurement.figure == "at_the_start"
    values: list[float] = []
    for record in cell.ended_well:
        by_step = _measured_by_step(record, measurement.quantity.name)
        # A trial that reached its target early has no value at its end, only at step 0.
        steps = [step for step in by_step if (step == 0) == is_at_start]
        if steps:
            values.append(by_step[steps[-1]])
    return values


# ---- a page


@in_its_unit
def html_page(study: Study) -> str:
    """Return the page of a sweep as HTML text."""
    files, figures = sweep_files(study), sweep_figures(study)
    headline, lead = conclusion(study)
    return render_page(
        study,
        figures,
        figure_looks(study),
        brand=f"batchlab: what batch size does to {study.workload.name}",
        headline=headline,
        lead=lead,
        compared=figures[0].table,
        below="",
        findings=sentences(study),
        claims=claim_sentences(Evidence.of(study)),
        summary=f"{trial_counts(study)} Spent: {quantity_text('train_s', study.spent_s)}.",
        runs={"trials": files["trials"].without("trial_id").without_empty_columns()},
        files=files,
        paste="",
        research=(),
    )
