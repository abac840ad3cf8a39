"""A sweep as a page, as text for a terminal, as CSV, images and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from batchlab.records.study import Study, WorkloadSummary
from batchlab.report.cells import (
    figure_looks,
    observations_table,
    trial_counts,
)
from batchlab.report.evidence import Evidence
from batchlab.report.figure import Figure, Look, drawn_looks
from batchlab.report.page import Tables, render_page, study_origin
from batchlab.report.sayings import claim_sentences
from batchlab.report.sweep_answer import conclusion, sentences
from batchlab.report.sweep_figures import sweep_figures
from batchlab.report.sweep_tables import (
    TrialDocument,
    sweep_table,
    trial_documents,
    trials_table,
)
from batchlab.report.table import Section, marked_table, sections_text
from batchlab.report.text import VERDICT_WORDS, wrapped_text
from batchlab.version import __version__
from batchlab.words.catalogue import text
from batchlab.words.document import SCHEMA, document_text

# ---- JSON


class SweepDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A sweep."""

    schema: int
    command: str
    batchlab: str
    command_line: str
    study: str
    workload: WorkloadSummary
    environment: dict[str, str]
    store: str | None
    report: str | None
    spent_s: float
    trials: tuple[TrialDocument, ...]


def sweep_document(study: Study, *, store: Path | None, report: Path | None) -> str:
    """Return the study as one JSON document; times in seconds, memory in bytes, unknown is null."""
    document = SweepDocument(
        schema=SCHEMA,
        command="sweep",
        batchlab=__version__,
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


def sweep_files(study: Study) -> Tables:
    """Return the tables to export: the trials, and every observation in long format."""
    numbers = text("one row a number that was seen, joined by trial_id")
    return {
        "trials": (text("one row a trial"), trials_table(study)),
        "observations": (numbers, observations_table(study)),
    }


# ---- a terminal

_MOST_NOTES = 3


def text_report(study: Study) -> str:
    """Return the answer on one screen: what ended best, one row per batch size, further notes."""
    if not study.records:
        return sweep_headline(study)
    shown = answer_section(study)
    if shown.table is not None:
        off = {"generalization_gap", *(["test"] if study.workload.has_validation else [])}
        keys = [column.key for column in shown.table.columns if column.key not in off]
        shown = replace(shown, table=shown.table.only(keys))
    folklore = claims_text(Evidence.of(study))
    notes = [*map(str, sentences(study))][:_MOST_NOTES]
    last = (trial_counts(study), text("Command: {command}", command=study.command))
    return sections_text(
        (
            shown,
            Section(facts=(*notes, *([folklore] if folklore else []))),
            Section(drawing=last),
        )
    )


def sweep_headline(study: Study) -> str:
    """Return the first sentences: which batch size did best, and how the trials ended."""
    said = (conclusion(study).headline, trial_counts(study))
    return "".join(f"{wrapped_text(each)}\n" for each in said)


def answer_section(study: Study) -> Section:
    """Return which batch size or plan did best, with one row for each."""
    found = conclusion(study)
    facts = (found.lead,) if found.lead else ()
    table = marked_table(sweep_table(study)) if study.records else None
    return Section(title=found.headline, facts=facts, table=table)


def claims_text(evidence: Evidence) -> str:
    """Return the verdict on each common claim in one line, or nothing if none was tested."""
    said = [
        text("“{claim}” {verdict}", claim=text(each.topic), verdict=text(VERDICT_WORDS[verdict]))
        for each in claim_sentences(evidence)
        if (verdict := each.verdict) not in (None, "not_tested")
    ]
    return text("Folklore: {claims}.", claims=", ".join(said)) if said else ""


# ---- a page


def html_page(study: Study) -> str:
    """Return the page of a sweep as HTML text."""
    files, evidence = sweep_files(study), Evidence.of(study)
    first, *others = figures = sweep_figures(study)
    looks, found = figure_looks(study), conclusion(study)
    _, trials = files["trials"]

    def legend(shown: Sequence[Figure]) -> Iterator[tuple[Look, str]]:
        for look in drawn_looks(looks, (row for figure in shown for row in figure.rows)):
            yield look, look.label

    columns = [column.key for column in trials.columns if column.key != "trial_id"]
    return render_page(
        study_origin(study),
        brand=text("batchlab: what batch size does to {name}", name=study.workload.name),
        headline=found.headline,
        lead=found.lead,
        table=marked_table(first.table),
        figures=figures,
        looks=looks,
        legends=(legend([first]), legend(others)),
        below=(),
        findings=sentences(study),
        claims=claim_sentences(evidence),
        summary=text(
            "{counts} {spent_s:train_s} spent.", counts=trial_counts(study), spent_s=study.spent_s
        ),
        run={"trials": trials.only(columns).without_empty_columns()},
        files=files,
    )
