"""A sweep as a page, as text for a terminal, as CSV, images and JSON."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from batchlab.records.study import Study, WorkloadSummary
from batchlab.report.cells import (
    chosen_cells,
    figure_looks,
    observations_table,
    rate_notes,
    trial_counts,
)
from batchlab.report.effects import effect_sentences
from batchlab.report.page import Tables, downloads, render_page, study_environment
from batchlab.report.palette import drawn_looks
from batchlab.report.sweep_claims import (
    claim_sentences,
    claim_text,
    conclusion,
    sentences,
)
from batchlab.report.sweep_evidence import Evidence
from batchlab.report.sweep_figures import rate_table, sweep_figures
from batchlab.report.sweep_tables import (
    TrialDocument,
    finals_table,
    first_table,
    races_table,
    summary_table,
    trial_documents,
    trials_table,
)
from batchlab.report.table import Section, sections_text
from batchlab.report.text import Sentence, wrapped_text
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
    """The study as one JSON document; times in seconds, memory in bytes, unknown is null."""
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
    """The tables that can be taken out: the trials, and in long format every number seen."""
    numbers = text("one row a number that was seen, joined by trial_id")
    return {
        "trials": (text("one row a trial"), trials_table(study)),
        "observations": (numbers, observations_table(study)),
    }


# ---- a terminal


def text_report(study: Study) -> str:
    """The report of a study as plain text: what was seen, small tables, bad trials."""
    return sections_text((Section(title=study.workload.name), *_parts(study)))


def sweep_headline(study: Study) -> str:
    """What is read first: which batch size did best, and how the trials ended."""
    said = (conclusion(study).headline, trial_counts(study))
    return "".join(f"{wrapped_text(each)}\n" for each in said)


def answer_section(study: Study) -> Section:
    """Tell which batch size or plan did best, with a row for each."""
    found = conclusion(study)
    facts = (found.lead,) if found.lead else ()
    summary = summary_table(study, chosen_cells(study)) if study.records else None
    return Section(title=found.headline, facts=facts, table=summary)


def _parts(study: Study) -> Iterator[Section]:
    yield answer_section(study)
    if not study.records:
        return
    seen = (*effect_sentences(study).values(), *map(str, sentences(study)))
    yield Section(facts=seen)
    yield Section(facts=tuple(map(claim_text, claim_sentences(Evidence.of(study)))))
    if len({record.trial.learning_rate for record in study.records}) > 1:
        yield Section(table=rate_table(study))
    command = text("Command: {command}", command=study.command)
    yield Section(facts=(trial_counts(study),))
    yield Section(drawing=(command,))


# ---- a page


def html_page(study: Study) -> str:
    """The report of a study as the text of a self-contained HTML page, at most 5 MB."""
    files, evidence, chosen = sweep_files(study), Evidence.of(study), chosen_cells(study)
    figures, looks = sweep_figures(study), figure_looks(study)
    plans = next((figure for figure in figures if figure.name == "plans"), None)
    _, trials = files["trials"]
    intervals = {
        "races": races_table(evidence),
        "finals": finals_table(evidence),
    }
    return render_page(
        "page.html.j2",
        study=study,
        study_id=study.study_id,
        environment=study_environment(study),
        command=study.command,
        found=conclusion(study),
        compared=first_table(study, chosen),
        effects=effect_sentences(study),
        claims=claim_sentences(evidence),
        figures=figures,
        looks=looks,
        legend=lambda shown: [
            (look, look.label)
            for look in drawn_looks(looks, (row for figure in shown for row in figure.rows))
        ],
        plans=plans,
        findings=_findings(sentences(study)),
        intervals={name: table for name, table in intervals.items() if table.rows},
        summary=trial_counts(study),
        rate_notes=list(rate_notes(study, chosen)),
        trials=trials.only(
            column.key for column in trials.columns if column.key != "trial_id"
        ).without_empty_columns(),
        downloads=downloads(files),
    )


def _findings(said: Iterable[Sentence]) -> list[tuple[str, list[Sentence]]]:
    """The sentences, those that follow each other on one topic together under its name."""
    groups = itertools.groupby(said, key=lambda sentence: sentence.topic)
    return [(topic, list(group)) for topic, group in groups]
