"""A sweep as a page, as text for a terminal, as CSV, images and JSON."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec

from batchlab.records.study import Study, WorkloadSummary
from batchlab.report.cells import (
    chosen_cells,
    figure_looks,
    observations_table,
    of_constant_size,
    rate_notes,
    trial_counts,
)
from batchlab.report.effects import effect_sentences
from batchlab.report.page import Tables, downloads, render_page, study_environment
from batchlab.report.palette import SERIES_DASHES
from batchlab.report.sweep_claims import (
    Conclusion,
    claim_sentences,
    claim_text,
    conclusion,
    sentences,
)
from batchlab.report.sweep_evidence import Evidence
from batchlab.report.sweep_figures import rate_table, sweep_figures
from batchlab.report.sweep_growth import (
    GrowthDocument,
    first_growth_table,
    growth_claims,
    growth_conclusion,
    growth_document,
    growth_of,
    growth_table,
)
from batchlab.report.sweep_tables import (
    TrialDocument,
    finals_table,
    first_table,
    paired_table,
    races_table,
    summary_table,
    trial_documents,
    trials_table,
)
from batchlab.report.table import Section, Table, sections_text
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
    growth: GrowthDocument | None
    trials: tuple[TrialDocument, ...]


def sweep_document(study: Study, *, store: Path | None, report: Path | None) -> str:
    """The study as one JSON document; times in seconds, memory in bytes, unknown is null."""
    growth = growth_of(study)
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
        growth=None if growth is None else growth_document(growth),
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
    said = (_answer(study)[0].headline, trial_counts(study))
    return "".join(f"{wrapped_text(each)}\n" for each in said)


def answer_section(study: Study) -> Section:
    """Which batch size did best, and a row a batch size; of plans, a row a plan."""
    found, summary = _answer(study)
    facts = (found.lead,) if found.lead else ()
    return Section(title=found.headline, facts=facts, table=summary if study.records else None)


def _answer(study: Study) -> tuple[Conclusion, Table]:
    """What is read first, in words and in numbers."""
    growth = growth_of(study)
    if growth is None:
        return conclusion(study), summary_table(study, chosen_cells(study))
    headline, lead = growth_conclusion(growth)
    return Conclusion(headline=headline, lead=lead), growth_table(growth)


def _claims(study: Study) -> tuple[Sentence, ...]:
    growth = growth_of(study)
    of_plans = () if growth is None else growth_claims(growth)
    return (*of_plans, *claim_sentences(Evidence.of(study)))


def _parts(study: Study) -> Iterator[Section]:
    yield answer_section(study)
    whole, study = study, of_constant_size(study)
    if not whole.records:
        return
    seen = (*effect_sentences(study).values(), *map(str, sentences(whole)))
    yield Section(facts=seen)
    yield Section(facts=tuple(map(claim_text, _claims(whole))))
    if len({record.trial.learning_rate for record in study.records}) > 1:
        yield Section(table=rate_table(study))
    command = text("Command: {command}", command=study.command)
    yield Section(facts=(trial_counts(whole),))
    yield Section(drawing=(command,))


# ---- a page


def html_page(study: Study) -> str:
    """The report of a study as the text of a self-contained HTML page, at most 5 MB."""
    files, counts, claims = sweep_files(study), trial_counts(study), _claims(study)
    figures, looks, said = sweep_figures(study), figure_looks(study), _findings(sentences(study))
    growth, (found, compared), intervals = growth_of(study), _answer(study), {}
    legend, study = [(look, look.label) for look in looks], of_constant_size(study)
    first_legend, along, plan_dashes = legend, None, {}
    if growth is None:
        compared = first_table(study, chosen_cells(study))
    else:
        intervals = {"plans": compared}
        compared = first_growth_table(growth)
        along = figures[-1]
        # There dashes tell plans, and not sizes.
        first_legend = [(replace(look, dash=()), name) for look, name in legend]
        plan_dashes = dict(zip(growth.plan_words, SERIES_DASHES, strict=False))
    _, trials = files["trials"]
    evidence = Evidence.of(study)
    intervals |= {
        "races": races_table(evidence),
        "finals": finals_table(evidence),
        "paired": paired_table(evidence),
    }
    return render_page(
        "page.html.j2",
        study=study,
        study_id=study.study_id,
        environment=study_environment(study),
        command=study.command,
        found=found,
        compared=compared,
        effects=effect_sentences(study),
        claims=claims,
        figures=figures,
        looks=looks,
        legend=legend,
        first_legend=first_legend,
        along=along,
        plan_dashes=plan_dashes,
        findings=said,
        intervals={name: table for name, table in intervals.items() if table.rows},
        summary=counts,
        rate_notes=list(rate_notes(study, chosen_cells(study))),
        trials=trials.only(
            column.key for column in trials.columns if column.key != "trial_id"
        ).without_empty_columns(),
        downloads=downloads(files),
    )


def _findings(said: Iterable[Sentence]) -> list[tuple[str, list[Sentence]]]:
    """The sentences, those that follow each other on one topic together under its name."""
    groups = itertools.groupby(said, key=lambda sentence: sentence.topic)
    return [(topic, list(group)) for topic, group in groups]
