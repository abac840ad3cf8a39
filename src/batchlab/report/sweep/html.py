"""HTML: a study as one self-contained page."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from batchlab.records.study import Study
from batchlab.report.parts.download import download
from batchlab.report.parts.figure_row import built_figures
from batchlab.report.parts.observations_table import observations_table
from batchlab.report.parts.output_file import write_output_file
from batchlab.report.parts.page import render_page, study_environment
from batchlab.report.parts.plateaus import plateaus_of
from batchlab.report.parts.sentence import Sentence
from batchlab.report.parts.table import Table
from batchlab.report.sweep import figures as sweep_figures
from batchlab.report.sweep.cells import chosen_cells
from batchlab.report.sweep.claims import claim_sentences
from batchlab.report.sweep.conclusion import conclusion
from batchlab.report.sweep.effect import effect_sentences
from batchlab.report.sweep.evidence import Evidence
from batchlab.report.sweep.figure_looks import figure_looks
from batchlab.report.sweep.finals_table import finals_table
from batchlab.report.sweep.paired import paired_table
from batchlab.report.sweep.races_table import races_table
from batchlab.report.sweep.sentences import sentences
from batchlab.report.sweep.summary_table import first_table
from batchlab.report.sweep.trial_ending import trial_counts
from batchlab.report.sweep.trials_table import IDENTITY, REASONS, trials_table
from batchlab.words.catalogue import text


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
