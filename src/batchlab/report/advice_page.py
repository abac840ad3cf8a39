"""An advice as an HTML page, as a terminal screen, as a notebook cell and as files."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path

from batchlab.advice.advice import Advice
from batchlab.belief.evidence import Evidence
from batchlab.measure.profile import Profile
from batchlab.records.study import Study
from batchlab.report.advice_answer import (
    RESEARCH_TOPIC,
    advice_sentences,
    cost_text,
    lines_to_paste,
    report_command,
    trained_model,
)
from batchlab.report.advice_figures import advice_figures, advice_looks, whole_trainings
from batchlab.report.advice_rows import (
    AnswerRow,
    answer_rows,
    answer_table,
    steps_table,
    tried_table,
    untried_text,
)
from batchlab.report.cells import observations_table
from batchlab.report.page import render_page
from batchlab.report.sayings import claim_sentences
from batchlab.report.table import MOST_NOTES, Section, Table
from batchlab.report.text import (
    Sentence,
    in_its_unit,
    terminal_width,
    whole_sentence,
    wrapped_lines,
)
from batchlab.words.catalogue import sentence, text

MOST_LINES, WIDTH = 24, 100

# ---- on one screen


@in_its_unit
def advice_text(advice: Advice, *, study: Study, report: Path | None) -> str:
    """Return the answer on one screen: what to set, why, a table of trained sizes, and notes.

    The text has at most 24 lines of 100 columns; a narrower terminal gets more lines. Notes beyond
    these lines are shown only on the page.
    """
    answer, *others = advice_sentences(advice)
    head = _wrapped(answer.text)
    for other in others:
        if other.topic == "why":
            head += _wrapped(other.text)
    page = "" if report is None else f" Page: {report}."
    last = _wrapped(f"{cost_text(advice)}.{page} Why: {report_command(study)}")
    room = MOST_LINES * WIDTH // (terminal_width() or WIDTH) - len(head) - len(last) - 2
    table = _table_lines(advice, most=room - 3)
    room -= len(table)
    notes: list[str] = []
    for note in _notes(advice, others):
        lines = _wrapped(note)
        if len(notes) + len(lines) + 1 <= room:
            notes += lines
    blocks = map("\n".join, (head, table, notes, last))
    return "\n\n".join(filter(None, blocks)) + "\n"


def _wrapped(sentence: str) -> list[str]:
    return wrapped_lines(sentence, terminal_width() or WIDTH)


def _notes(advice: Advice, sentences: Sequence[Sentence]) -> Iterator[str]:
    """Yield at most three notes to show below the table, then the number of notes left out."""
    notes = [note.text for note in sentences if note.topic not in ("why", RESEARCH_TOPIC)]
    notes += map(whole_sentence, advice.caveats)
    yield from notes[:MOST_NOTES]
    left = len(notes) - MOST_NOTES
    if left > 0:
        yield sentence("more_notes", n=left)


def _table_lines(advice: Advice, *, most: int) -> list[str]:
    """Return the table of trained batch sizes as lines, then lines that name all other sizes.

    The table has at most `most` rows. If there are more, the rows of the answer and of the user's
    configuration are the last to be left out.
    """

    def is_first(row: AnswerRow) -> bool:
        return row.at in (advice.named, advice.reference)

    tried = list(filter(attrgetter("is_tried"), answer_rows(advice)))
    first = sorted(tried, key=is_first, reverse=True)[:most]
    rows = [row for row in tried if row in first]
    left = [row.candidate.batch_size for row in tried if row not in first]
    table = answer_table(advice, rows).without("end_test")
    lines = table.to_text(width=WIDTH).splitlines()
    if left:
        lines += _wrapped(f"Also trained: {', '.join(map(str, left))}.")
    return lines + _wrapped(untried_text(advice))


@in_its_unit
def explain_text(advice: Advice, *, study: Study) -> str:
    """Return the steps of the advice with their reasons, then script lines to paste."""
    paste = textwrap.indent(_paste(advice, study), "  ")
    if paste:
        paste = f"\nTo paste:\n{paste}\n"
    return f"{steps_table(advice).to_text()}\n{paste}"


def _paste(advice: Advice, study: Study) -> str:
    if advice.recommendation is None:
        return ""
    return "\n".join(lines_to_paste(advice.recommendation, study))


def advice_sections(advice: Advice) -> list[Section]:
    """Return the sections of a notebook cell, the answer first."""
    answer, *others = advice_sentences(advice)
    reasons = tuple(one.text for one in others if one.topic == "why")
    return [
        Section(title=answer.text, facts=reasons, table=answer_table(advice)),
        Section(facts=(*_notes(advice, others), f"{cost_text(advice)}.")),
    ]


# ---- on a page, and as files


@in_its_unit
def render_advice_html(advice: Advice, study: Study, profile: Profile | None) -> str:
    """Return the page of an advice as HTML: the answer first, then its evidence.

    Without a profile, step times and memory on the page come only from the advice.
    """
    answer, why, *others = advice_sentences(advice)
    findings = [one for one in others if one.topic != RESEARCH_TOPIC]
    caveats = [Sentence(topic="caveats", text=whole_sentence(one)) for one in advice.caveats]
    asked = text(_ASKED[advice.objective])
    rows = filter(attrgetter("is_tried"), answer_rows(advice))
    return render_page(
        study,
        advice_figures(advice, study, profile),
        advice_looks(advice),
        brand=f"batchlab: which batch size for {study.workload.name}?",
        headline=answer.text,
        lead=why.text,
        compared=answer_table(advice, rows),
        below=untried_text(advice),
        findings=[*findings, *trained_model(advice, study), *caveats],
        summary=f"{asked} {cost_text(advice)}, profile and waiting included.",
        runs={
            "steps": steps_table(advice),
            "tried": tried_table(advice).without_empty_columns(),
        },
        files=advice_files(advice, study),
        paste=_paste(advice, study),
        claims=claim_sentences(Evidence.of(whole_trainings(advice, study))),
        research=[one for one in others if one.topic == RESEARCH_TOPIC],
    )


_ASKED = {
    "time": "Asked for: least time to the target.",
    "samples": "Asked for: the largest batch size with few more examples to the target.",
    "quality": "Asked for: best metric in a run of fixed length.",
}


@in_its_unit
def advice_files(advice: Advice, study: Study) -> dict[str, Table]:
    """Return the tables to export: the candidate batch sizes, the runs and the observations."""
    return {
        "candidates": answer_table(advice),
        "runs": tried_table(advice),
        "observations": observations_table(study),
    }
