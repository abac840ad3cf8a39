"""An advice as a page, on one screen of a terminal, as CSV and images."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from batchlab.advice.advice import Advice
from batchlab.records.study import Study
from batchlab.report.advice_answer import RESEARCH_TOPICS, advice_sentences
from batchlab.report.advice_commands import lines_to_paste
from batchlab.report.advice_effects import effect_sentences, effects_of, untold_sentences
from batchlab.report.advice_figures import advice_looks, named_looks
from batchlab.report.advice_rows import answer_rows
from batchlab.report.advice_run_figures import advice_figures
from batchlab.report.advice_tables import (
    answer_table,
    cost_table,
    marked_table,
    steps_table,
    tried_table,
    untried_text,
)
from batchlab.report.advice_text import cost_text
from batchlab.report.advice_words import target_text
from batchlab.report.cells import observations_table
from batchlab.report.page import Tables, downloads, render_page, study_environment
from batchlab.report.text import Sentence, whole_sentence
from batchlab.words.catalogue import text

if TYPE_CHECKING:
    from batchlab.measure.profile import Profile


# The same terms, at more length, are in docs/glossary.md.
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
    """The terms that stand in these sentences, each with what it means."""
    words = " ".join(map(str, said))
    return tuple(
        (text(term), text(meaning))
        for term, meaning in TERMS.items()
        if re.search(rf"(?<!\w){re.escape(text(term))}s?(?!\w)", words)
    )


def render_advice_html(advice: Advice, study: Study, profile: Profile | None) -> str:
    """The page of an advice as text: the answer first, what it rests on after it.

    Without a profile it has of step times and memory only what the advice says of them.
    """
    said = {sentence.topic: sentence for sentence in advice_sentences(advice, study)}
    answer = said.pop("answer")
    lead = said.pop("why", None)
    research = [said.pop(topic) for topic in tuple(said) if topic in RESEARCH_TOPICS]
    first, *others = figures = advice_figures(advice, study, profile)
    effects = effects_of(advice, study)
    caveats = [Sentence(topic="caveats", text=whole_sentence(caveat)) for caveat in advice.caveats]
    said_of = effect_sentences(advice, study, effects)
    drawn = {panel.key.rpartition("-")[2] for figure in others for panel in figure.panels}
    return render_page(
        "advice.html.j2",
        study=study,
        study_id=study.study_id,
        environment=study_environment(study),
        command=study.command,
        figures=figures,
        looks=(looks := advice_looks(advice, study)),
        advice=advice,
        answer=answer,
        lead=lead,
        first=first,
        compared=marked_table(
            answer_table(advice, [row for row in answer_rows(advice) if row.is_tried])
        ),
        untried=untried_text(advice),
        summary=_summary(advice),
        findings=[
            *((topic, [sentence]) for topic, sentence in said.items()),
            *([("caveats", caveats)] if caveats else []),
        ],
        research=[(sentence.topic, [sentence]) for sentence in research],
        terms=researcher_terms(research),
        paste="\n".join(lines_to_paste(advice.recommendation, study))
        if advice.recommendation
        else None,
        shown=others,
        effects=said_of,
        untold=untold_sentences(effects, said_of, drawn),
        legends={first.key: named_looks(advice, looks, first.rows)},
        legend=named_looks(advice, looks, [row for figure in others for row in figure.rows]),
        cost_words=text("{cost}, profile and waiting included.", cost=cost_text(advice)),
        run={
            "cost": cost_table(advice, study),
            "steps": steps_table(advice),
            "tried": tried_table(advice),
        },
        downloads=downloads(advice_files(advice, study)),
    )


def advice_files(advice: Advice, study: Study) -> Tables:
    """The tables that can be taken out: the batch sizes in question, and what else was seen."""
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
    if advice.target is None:
        return text(asked)
    target = text("Target: {target}.", target=target_text(advice.target))
    return f"{text(asked)} {target}"
