"""Advice HTML: the answer, with everything it rests on, as one self-contained page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from batchlab.advice.advice import Advice
from batchlab.records.study import Study
from batchlab.report.advice import figures as advice_figures
from batchlab.report.advice.budget_words import trainings_words
from batchlab.report.advice.effect_text import effect_sentences, untold_sentences
from batchlab.report.advice.effects import effects_of
from batchlab.report.advice.objective_words import target_text
from batchlab.report.advice.researcher_terms import researcher_terms
from batchlab.report.advice.rows import advice_looks, drawn_looks, named_looks
from batchlab.report.advice.script_lines import script_lines
from batchlab.report.advice.sentences import RESEARCH_TOPICS, advice_sentences
from batchlab.report.advice.side_by_side import side_by_side
from batchlab.report.advice.sweep_command import sweep_command
from batchlab.report.advice.tables import (
    candidates_table,
    cost_table,
    expected_table,
    steps_table,
    tried_table,
)
from batchlab.report.parts.download import download
from batchlab.report.parts.figure_row import built_figures
from batchlab.report.parts.observations_table import observations_table
from batchlab.report.parts.output_file import write_output_file
from batchlab.report.parts.page import render_page, study_environment
from batchlab.report.parts.reason_clause import whole_sentence
from batchlab.words.catalogue import plural, text

if TYPE_CHECKING:
    from batchlab.measure.profile import Profile


def write_advice_html(advice: Advice, study: Study, profile: Profile | None, path: Path) -> None:
    """Write the page of an advice.

    Raises:
        OutputFileError: the file cannot be written; an old one is left as it is.
    """
    write_output_file(Path(path), render_advice_html(advice, study, profile).encode())


def render_advice_html(advice: Advice, study: Study, profile: Profile | None) -> str:
    """The page of an advice as text: the answer first, what it rests on after it.

    Args:
        advice: the advice.
        study: its runs, its command and the place they ran.
        profile: where step times and memory are from; None: only what the advice says of them.
    """
    said = {sentence.topic: sentence for sentence in advice_sentences(advice, study)}
    answer = said.pop("answer")
    # What is read first: why in numbers, or why it is open.
    lead = said.pop("why", None) or said.pop("how sure", None)
    research = [said.pop(topic) for topic in tuple(said) if topic in RESEARCH_TOPICS]
    first, *others = figures = [
        figure for _, figure in built_figures(advice_figures, advice, study, profile)
    ]
    (effect,) = (figure for figure in others if figure.key == "h")
    effects = effects_of(advice, study)
    said_of = effect_sentences(advice, study, effects)
    drawn = {panel.key.rpartition("-")[2] for panel in effect.panels}
    return render_page(
        "advice.html.j2",
        study=study,
        environment=study_environment(study),
        command=study.command,
        figures=figures,
        looks=(looks := advice_looks(advice, study)),
        advice=advice,
        answer=answer,
        lead=lead,
        first=first,
        compared=side_by_side(advice),
        follow_up=said.pop("what would settle it", None),
        caveats=[whole_sentence(caveat) for caveat in advice.caveats],
        summary=_summary(advice),
        findings=[(topic, [sentence]) for topic, sentence in said.items()],
        research=research,
        terms=researcher_terms(research),
        expected=None if advice.expected is None else expected_table(advice.expected),
        paste="\n".join(script_lines(advice.recommendation)) if advice.recommendation else None,
        shown=[figure for figure in others if figure is not effect],
        effect=effect,
        effects=said_of,
        untold=untold_sentences(effects, said_of, drawn),
        sweep=None if effects.shows_all else sweep_command(advice, study, effects),
        legends={
            figure.key: named_looks(advice, drawn_looks(looks, figure.rows)) for figure in figures
        },
        cost=cost_table(advice, study),
        cost_words=_cost_words(advice),
        tried=tried_table(advice),
        steps=steps_table(advice),
        downloads=(
            download(
                "batchlab-candidates.csv",
                text("one row a batch size in question"),
                candidates_table(advice),
            ),
            download("batchlab-runs.csv", text("one row a training run"), tried_table(advice)),
            download(
                "batchlab-observations.csv",
                text("one row a number that was seen"),
                observations_table(study),
            ),
        ),
    )


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


def _cost_words(advice: Advice) -> str:
    spent = plural(
        "{n} training run took {spent_s:train_s} of the budget of {budget_s:train_s}, with "
        "profile and waiting.",
        "{n} training runs took {spent_s:train_s} of the budget of {budget_s:train_s}, with "
        "profile and waiting.",
        advice.n_trials,
        spent_s=advice.spent_s,
        budget_s=advice.budget_s,
    )
    trainings = trainings_words(advice)
    if not trainings:
        return spent
    return text("{spent} The budget was {trainings}.", spent=spent, trainings=trainings)
