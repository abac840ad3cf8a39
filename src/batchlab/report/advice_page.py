"""An advice as an HTML page, as a terminal screen, as a notebook cell and as files."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
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
    whole_sentence,
    wrapped_text,
)
from batchlab.words.catalogue import sentence, text

# ---- on one screen


@in_its_unit
def advice_text(advice: Advice, *, study: Study, report: Path | None) -> str:
    """Return the answer on one screen: what to set, why, a table of trained sizes, and notes.

    Unless very many batch sizes were trained, the text has at most 24 lines of 100 columns. Notes
    beyond the first three are shown only on the page.
    """
    sentences = advice_sentences(advice)
    rows = filter(attrgetter("is_tried"), answer_rows(advice))
    table = answer_table(advice, rows).without("end_test").to_text()
    page = "" if report is None else f" Page: {report}."
    blocks = (
        "\n".join(wrapped_text(one.text) for one in sentences if one.topic in ("answer", "why")),
        f"{table}\n{wrapped_text(untried_text(advice))}".strip("\n"),
        "\n".join(map(wrapped_text, _notes(advice, sentences))),
        wrapped_text(f"{cost_text(advice)}.{page} Why: {report_command(study)}"),
    )
    return "\n\n".join(filter(None, blocks)) + "\n"


def _notes(advice: Advice, sentences: Iterable[Sentence]) -> Iterator[str]:
    """Yield at most three notes to show below the table, then the number of notes left out."""
    elsewhere = ("answer", "why", RESEARCH_TOPIC)
    notes = [note.text for note in sentences if note.topic not in elsewhere]
    notes += map(whole_sentence, advice.caveats)
    yield from notes[:MOST_NOTES]
    left = len(notes) - MOST_NOTES
    if left > 0:
        yield sentence("more_notes", n=left)


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
    answer, why, *others = advice_sentences(advice)
    return [
        Section(title=answer.text, facts=(why.text,), table=answer_table(advice)),
        Section(facts=(*_notes(advice, others), f"{cost_text(advice)}.")),
    ]


# ---- on a page, and as files


@in_its_unit
def render_advice_html(advice: Advice, study: Study, profile: Profile) -> str:
    """Return the page of an advice as HTML: the answer first, then its evidence."""
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
        summary=f"{asked} {cost_text(advice)}. The time includes the profile and waiting.",
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
