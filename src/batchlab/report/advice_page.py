"""An advice as a page, on one screen of a terminal, as CSV and images."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from batchlab.advice.advice import Advice
from batchlab.records.study import Study
from batchlab.report.advice_answer import RESEARCH_TOPICS, advice_sentences
from batchlab.report.advice_commands import lines_to_paste
from batchlab.report.advice_figures import advice_figures, advice_looks, named_looks
from batchlab.report.advice_rows import answer_rows
from batchlab.report.advice_tables import (
    answer_table,
    cost_table,
    steps_table,
    tried_table,
    untried_text,
)
from batchlab.report.advice_text import cost_text
from batchlab.report.advice_words import target_text
from batchlab.report.cells import observations_table
from batchlab.report.evidence import Evidence
from batchlab.report.page import Tables, render_page, study_origin
from batchlab.report.sayings import claim_sentences
from batchlab.report.table import marked_table
from batchlab.report.text import Sentence, whole_sentence
from batchlab.words.catalogue import text

if TYPE_CHECKING:
    from batchlab.measure.profile import Profile


# docs/glossary.md explains the same terms at more length.
TERMS: dict[str, str] = {
    "critical batch size": (
        "The batch size at which the target takes twice the fewest steps. Beyond it, larger "
        "batches save few steps."
    ),
    "B_crit": "The critical batch size, in formulas.",
    "B": "The batch size.",
    "S": "The steps to the target.",
    "S_min": "The fewest steps to the target, with very large batches.",
    "E_min": "The fewest examples to the target, with very small batches.",
    "p": (
        "How often chance alone would put the runs this far from the law, if the law were true. "
        "Below 0.05 it speaks against the law, which is used if its exponent still may be 1."
    ),
    "exponent": "How sharply the steps level off as batches grow. In the usual law it is 1.",
    "tuned rate": "The learning rate that was best for a batch size in the search.",
    "scaling rule": (
        "A rule of thumb that guesses the learning rate for another batch size: none keeps it, "
        "linear grows it with the batch size, sqrt with its square root."
    ),
}


def researcher_terms(said: Iterable[Sentence]) -> tuple[tuple[str, str], ...]:
    """Return the terms that these sentences use, each with its meaning."""
    words = " ".join(map(str, said))
    return tuple(
        (text(term), text(meaning))
        for term, meaning in TERMS.items()
        if re.search(rf"(?<!\w){re.escape(text(term))}s?(?!\w)", words)
    )


def render_advice_html(advice: Advice, study: Study, profile: Profile | None) -> str:
    """Return the page of an advice as HTML: the answer first, then its evidence.

    Without a profile, step times and memory on the page come only from the advice.
    """
    said = {sentence.topic: sentence for sentence in advice_sentences(advice, study)}
    answer, lead = said.pop("answer"), said.pop("why", None)
    research = [said.pop(topic) for topic in tuple(said) if topic in RESEARCH_TOPICS]
    caveats = [Sentence(topic="caveats", text=whole_sentence(caveat)) for caveat in advice.caveats]
    model = [said.pop("trained model")] if "trained model" in said else []
    first, *others = figures = advice_figures(advice, study, profile)
    looks, untried = advice_looks(advice), untried_text(advice)
    rows = [row for row in answer_rows(advice) if row.is_tried]
    paste = [] if advice.recommendation is None else lines_to_paste(advice.recommendation, study)
    return render_page(
        study_origin(study),
        brand=text("batchlab: which batch size for {name}?", name=study.workload.name),
        headline=answer.text,
        lead="" if lead is None else lead.text,
        table=marked_table(answer_table(advice, rows)),
        figures=figures,
        looks=looks,
        legends=(
            named_looks(advice, looks, first.rows),
            named_looks(advice, looks, [row for figure in others for row in figure.rows]),
        ),
        below=[untried] if untried else [],
        findings=[*said.values(), *caveats, *model],
        summary=_summary(advice),
        run={
            "steps": steps_table(advice),
            "tried": tried_table(advice),
            "cost": cost_table(advice, study),
        },
        files=advice_files(advice, study),
        paste="\n".join(paste),
        claims=claim_sentences(Evidence.of(whole_trainings(advice, study))),
        research=research,
        terms=researcher_terms(research),
    )


def whole_trainings(advice: Advice, study: Study) -> Study:
    """Return the study with only the runs that were trained to their end."""
    whole = {
        (run.batch_size, run.learning_rate, run.seed) for run in advice.tried if run.end is not None
    }
    records = [
        record
        for record in study.records
        if (record.trial.batch_size, record.trial.learning_rate, record.trial.seed) in whole
    ]
    return replace(study, records=tuple(records))


def advice_files(advice: Advice, study: Study) -> Tables:
    """Return the tables to export: the batch sizes in question, the runs and the observations."""
    return {
        "candidates": (text("one row a batch size in question"), answer_table(advice)),
        "runs": (text("one row a training run"), tried_table(advice)),
        "observations": (text("one row a number that was seen"), observations_table(study)),
    }


def _summary(advice: Advice) -> str:
    asked = {
        "time": "Asked for: least time to the target.",
        "samples": "Asked for: the largest batch size that needs few samples to the target.",
        "quality": "Asked for: best metric in a run of fixed length.",
    }[advice.objective]
    said = [text(asked)]
    if advice.target is not None:
        said.append(text("Target: {target}.", target=target_text(advice.target)))
    said.append(text("{cost}, profile and waiting included.", cost=cost_text(advice)))
    return " ".join(said)
