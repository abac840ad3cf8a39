"""The page of a study, built from the same parts for an advice and for a sweep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from batchlab.records.study import Study
from batchlab.report.figure import Figure, Look
from batchlab.report.page import Tables, downloads, render_page, study_environment
from batchlab.report.table import Table
from batchlab.report.text import Sentence

Legend = Iterable[tuple[Look, str]]


def study_page(
    study: Study,
    *,
    brand: str,
    headline: str,
    lead: str,
    table: Table,
    figures: Sequence[Figure],
    looks: Sequence[Look],
    legends: tuple[Legend, Legend],
    below: Iterable[str],
    findings: Iterable[Sentence],
    summary: str,
    run: Mapping[str, Table],
    files: Tables,
    paste: str = "",
    claims: Sequence[Sentence] = (),
    research: Sequence[Sentence] = (),
    terms: Sequence[tuple[str, str]] = (),
) -> str:
    """Return the page as text.

    Args:
        study: the study that it shows.
        brand: a few words above the headline.
        headline: the answer.
        lead: the reason for it.
        table: the results of each batch size.
        figures: the picture next to the table, then the evidence.
        looks: how batch sizes are drawn.
        legends: one for the picture, and one for the evidence.
        below: sentences below the table.
        findings: other things a reader should know, by topic.
        summary: a sentence on the runs.
        run: tables of the runs, folded.
        files: tables that can be saved.
        paste: lines for the user's script.
        claims: common claims, each with its verdict.
        research: findings in the words of researchers, folded.
        terms: the words of researchers and their meanings.
    """
    first, *others = figures
    shown = [figure for figure in others if figure.panels]
    absent = [figure.absent for figure in others if figure.absent]
    return render_page(
        "study.html.j2",
        study=study,
        study_id=study.study_id,
        environment=study_environment(study),
        command=study.command,
        figures=figures,
        looks=looks,
        brand=brand,
        headline=headline,
        lead=lead,
        first=first,
        first_legend=(at_first := list(legends[0])),
        legend=[] if (then := list(legends[1])) == at_first else then,
        compared=table,
        below=list(below),
        findings=_by_topic(findings),
        paste=paste,
        shown=shown,
        absent=list(dict.fromkeys(absent)),
        claims=claims,
        summary=summary,
        run=run,
        research=_by_topic(research),
        terms=terms,
        downloads=downloads(files),
    )


def _by_topic(sentences: Iterable[Sentence]) -> list[tuple[str, list[Sentence]]]:
    topics: dict[str, list[Sentence]] = {}
    for sentence in sentences:
        topics.setdefault(sentence.topic, []).append(sentence)
    return list(topics.items())
