"""A sweep as a page, as text for a terminal, as CSV, images and JSON."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import msgspec

from batchlab.laws.diagnosis import diagnose
from batchlab.laws.plateau import plateau_of
from batchlab.records.estimate import Reason
from batchlab.records.json_document import SCHEMA
from batchlab.records.study import Study, WorkloadDocument, workload_document
from batchlab.records.trial import Crossing, Status, Target, TrialRecord
from batchlab.report.cells import (
    Cell,
    chosen_cells,
    deciding_split,
    figure_looks,
    final_gap,
    held_out_split,
    mean_curve,
    observations_table,
    plateaus_of,
    trial_counts,
)
from batchlab.report.effects import effect_sentences
from batchlab.report.output_file import write_output_file
from batchlab.report.page import download, render_page, study_environment
from batchlab.report.parts.figure import SPLITS
from batchlab.report.parts.figure_files import write_figure_images, write_figure_rows
from batchlab.report.parts.figure_row import built_figures
from batchlab.report.sweep import figures as sweep_figures
from batchlab.report.sweep.figures.learning_rate import rate_table
from batchlab.report.sweep_claims import claim_sentences, claim_text, conclusion, sentences
from batchlab.report.sweep_evidence import Evidence, paired_table
from batchlab.report.sweep_tables import (
    IDENTITY,
    REASONS,
    finals_table,
    first_table,
    races_table,
    summary_table,
    trials_table,
)
from batchlab.report.table import Table
from batchlab.report.text import Sentence, label_text, quantity_text, term_text, wrapped_text
from batchlab.version import __version__
from batchlab.words.catalogue import text
from batchlab.words.document import document_text


class TrialDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One trial: what was asked, how it ended, what it reached."""

    trial_id: str
    status: str
    reason: Reason | None
    engine: str
    threads: int
    device: str
    batch_mode: str
    batch_size: int
    micro_batch_size: int
    sampling: str
    drop_last: bool
    learning_rate: float
    scaling_rule: str
    seed: int
    epochs: float
    steps: int
    samples: int
    train_s: float
    eval_s: float
    peak_bytes: int | None
    step_s: float | None
    target: Target | None
    steps_to_target: int | None
    samples_to_target: int | None
    crossing: Crossing | None
    resumed_from_step: tuple[int, ...]
    plateau: str
    plateau_epoch: int | None
    diagnosis: tuple[str, ...]
    final: dict[str, dict[str, float | None]]
    generalization_gap: float | None
    notes: tuple[Reason, ...]


class SweepDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A sweep."""

    schema: int
    command: str
    batchlab: str
    command_line: str
    study: str
    workload: WorkloadDocument
    environment: dict[str, str]
    store: str | None
    report: str | None
    spent_s: float
    trials: tuple[TrialDocument, ...]


def sweep_document(study: Study, *, store: Path | None, report: Path | None) -> str:
    """The study as one JSON document; times in seconds, memory in bytes, unknown is null."""
    document = SweepDocument(
        schema=SCHEMA,
        command="sweep",
        batchlab=__version__,
        command_line=study.command,
        study=study.study_id,
        workload=workload_document(study),
        environment=dict(study.environment),
        store=None if store is None else str(store),
        report=None if report is None else str(report),
        spent_s=study.spent_s,
        trials=tuple(_trial(study, record) for record in study.records),
    )
    return document_text(document)


def _trial(study: Study, record: TrialRecord) -> TrialDocument:
    trial, metric = record.trial, study.workload.metrics[0]
    held_out = held_out_split(study)
    plateau = plateau_of(record, metric=metric.name, better=metric.better)
    crossing = None if study.target is None else record.crossing(study.target)
    timing = study.timing(trial.batch_size)
    # Fields that have the name of an attribute of the record, or else of its trial.
    taken = {
        name: getattr(source, name)
        for source in (trial, record)
        for name in TrialDocument.__struct_fields__
        if hasattr(source, name)
    }
    told = dict(
        status="unfinished" if record.status is None else Status(record.status).value,
        step_s=None if timing is None else timing.step_s,
        target=study.target,
        steps_to_target=None if crossing is None else crossing.step,
        samples_to_target=None if crossing is None else crossing.samples,
        crossing=crossing,
        resumed_from_step=record.resumed_from_steps,
        plateau=plateau.verdict,
        plateau_epoch=plateau.epoch,
        diagnosis=tuple(
            found.rule.name
            for found in diagnose(record, metric=metric.name, better=metric.better, plateau=plateau)
        ),
        final={
            split: {name.name: record.final(split, name.name) for name in study.workload.metrics}
            for split in SPLITS
            if any(score.split == split for e in record.evaluations for score in e.scores)
        },
        generalization_gap=final_gap(record, held_out, metric.name) if held_out else None,
    )
    return TrialDocument(**(taken | told))


def write_csv(study: Study, path: Path) -> tuple[Path, ...]:
    """Write the trials to `path`, their observations and the rows of the figures beside it.

    Args:
        study: the study.
        path: `report.csv` gets one row a trial; `report-observations.csv` one row a number seen,
            in long format, joined by `trial_id`; each figure has its rows in a file too.

    Returns:
        The files.

    Raises:
        OutputFileError: a file cannot be written.
    """
    path = Path(path)
    observations = path.with_name(f"{path.stem}-observations.csv")
    write_output_file(path, trials_table(study).to_csv().encode())
    write_output_file(observations, observations_table(study).to_csv().encode())
    return path, observations, *write_figure_rows(built_figures(sweep_figures, study), path)


def write_images(study: Study, path: Path, image_format: Literal["svg", "png"]) -> tuple[Path, ...]:
    """Write one image a figure; see `write_figure_images`."""
    return write_figure_images(built_figures(sweep_figures, study), Path(path), image_format)


BARS = "▁▂▃▄▅▆▇█"
CURVE_CHARACTERS = 24


def text_report(study: Study) -> str:
    """The report of a study as plain text: what was seen, small tables, curves, bad trials.

    Args:
        study: the study; trials that have not ended are shown as such.

    Returns:
        Lines as wide as the terminal, else 88, where words can be wrapped, ended by a newline.
    """
    parts = [part for part in _parts(study) if part]
    return "\n\n".join(parts) + "\n"


def sweep_headline(study: Study) -> str:
    """What is read first: which batch size did best, and how the trials ended."""
    said = (conclusion(study).headline, trial_counts(study))
    return "".join(f"{wrapped_text(each)}\n" for each in said)


def _parts(study: Study) -> Iterator[str]:
    found = conclusion(study)
    yield f"{study.workload.name}\n{wrapped_text(found.headline)}"
    yield wrapped_text(found.lead)
    if study.records:
        chosen = chosen_cells(study)
        table = summary_table(study, chosen)
        yield f"{wrapped_text(table.caption)}\n{table.to_text()}"
        yield _curves_text(study, chosen)
    if not study.records:
        return
    plateaus = plateaus_of(study)
    said = (*effect_sentences(study, plateaus).values(), *map(str, sentences(study, plateaus)))
    yield _listed(said)
    yield _listed(map(claim_text, claim_sentences(Evidence.of(study))))
    if len({record.trial.learning_rate for record in study.records}) > 1:
        rates = rate_table(study, deciding_split(study), study.workload.metrics[0].name)
        yield f"{wrapped_text(rates.caption)}\n{rates.to_text()}"
    yield wrapped_text(trial_counts(study))
    yield text("Command: {command}", command=study.command)


def _listed(said: Iterable[str]) -> str:
    return "\n".join(wrapped_text(f"- {each}") for each in said)


def _curves_text(study: Study, chosen: Sequence[Cell]) -> str:
    """The held-out metric along the epochs, one line a batch size, all on one scale."""
    metric = study.workload.metrics[0].name
    split = held_out_split(study) or "train"
    curves = {
        cell.batch_size: [
            point.spread.mean
            for point in mean_curve(cell, split, metric, None)
            if point.step and point.epoch == int(point.epoch)
        ]
        for cell in chosen
    }
    values = [value for curve in curves.values() for value in curve]
    if not values:
        return ""
    low, high = min(values), max(values)
    labels = {look.batch_size: look.label for look in figure_looks(study)}
    width = max(map(len, labels.values()))
    lines = [
        f"{labels[batch_size]:>{width}}  {_bars(curve, low, high)}  "
        f"{quantity_text(metric, curve[-1])}"
        for batch_size, curve in curves.items()
        if curve
    ]
    caption = text(
        "{split} {metric} by epoch, from {low} ({low_bar}) to {high} ({high_bar})",
        split=term_text(split),
        metric=label_text(metric),
        low=quantity_text(metric, low),
        low_bar=BARS[0],
        high=quantity_text(metric, high),
        high_bar=BARS[-1],
    )
    return "\n".join([wrapped_text(caption), *lines])


def _bars(curve: Sequence[float], low: float, high: float) -> str:
    last = len(curve) - 1
    n = min(len(curve), CURVE_CHARACTERS)
    shown = [curve[round(i * last / max(1, n - 1))] for i in range(n)]
    room = high - low or 1.0
    return "".join(BARS[round((value - low) / room * (len(BARS) - 1))] for value in shown)


def write_html(study: Study, path: Path) -> None:
    """Write the report of a study as one self-contained HTML file.

    Args:
        study: the study; trials that have not ended are shown as such.
        path: the file; an old one is replaced whole, or left as it is if this fails.

    Raises:
        OutputFileError: the file cannot be written.
    """
    write_output_file(Path(path), html_page(study).encode())


def html_page(study: Study) -> str:
    """The report of a study as the text of a self-contained HTML page, at most 5 MB."""
    built = built_figures(sweep_figures, study)
    figures = [figure for _, figure in built]
    plateaus = plateaus_of(study)
    trials = trials_table(study, plateaus)
    evidence = Evidence.of(study)
    return render_page(
        "page.html.j2",
        study=study,
        environment=study_environment(study),
        command=study.command,
        found=conclusion(study),
        compared=first_table(study, chosen_cells(study)),
        effects=effect_sentences(study, plateaus),
        claims=claim_sentences(evidence),
        figures=figures,
        looks=(looks := figure_looks(study)),
        legend=[(look, look.label) for look in looks],
        findings=_findings(sentences(study, plateaus)),
        intervals=_with_rows(
            races=races_table(evidence),
            finals=finals_table(evidence),
            paired=paired_table(evidence),
        ),
        summary=trial_counts(study),
        switched=[(row, figure) for row, figure in built if row.key in "abc"],
        by_key={figure.key: figure for figure in figures},
        others=[figure for figure in figures if figure.key not in "abcdh"],
        trials=_numbers_table(trials),
        reasons=replace(
            trials.only((*IDENTITY[1:], *REASONS, "trial_id")).without_empty_columns(),
            caption=text("Why a trial ended so, has this plateau and this diagnosis"),
        ),
        downloads=(
            download("batchlab-trials.csv", text("one row a trial"), trials),
            download(
                "batchlab-observations.csv",
                text("one row a number that was seen, joined by trial_id"),
                observations_table(study),
            ),
        ),
    )


def _findings(said: Iterable[Sentence]) -> list[tuple[str, list[Sentence]]]:
    """The sentences, those that follow each other on one topic together under its name."""
    groups = itertools.groupby(said, key=lambda sentence: sentence.topic)
    return [(topic, list(group)) for topic, group in groups]


def _with_rows(**tables: Table) -> dict[str, Table]:
    """The tables that have a row, by their names."""
    return {name: table for name, table in tables.items() if table.rows}


def _numbers_table(table: Table) -> Table:
    """The trials as people compare them: without the reasons, the hash at the end."""
    first = (*IDENTITY[1:], "status", "plateau", "plateau_epoch", "diagnosis")
    last = ("batch_mode", "micro_batch_size", "engine", "threads", "trial_id")
    named = {*first, *last, *REASONS}
    rest = [column.key for column in table.columns if column.key not in named]
    return table.only((*first, *rest, *last)).without_empty_columns()
