"""What is read of an advice comes from the catalogue: spoken in brackets, it all lies in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest
from tests.reference.by_day import by_day
from tests.reference.chart_words import figure_words
from tests.reference.made_up_advice import KINDS, KINDS_BY_DAY, advice_study
from tests.reference.made_up_profile import made_up_profile
from tests.reference.names import NAMES
from tests.reference.pseudo_language import letters_outside, pseudo_language
from tests.reference.simulated_engine import SimulatedEngine, Truth
from tests.reference.simulated_question import knee, question
from tests.reference.visible_text import visible_texts

from batchlab.advice.advice import Advice
from batchlab.advice.advisor import advise
from batchlab.records.reason import Reason
from batchlab.report.advice import figures as advice_figures
from batchlab.report.advice.html import render_advice_html
from batchlab.report.advice.script_lines import script_lines
from batchlab.report.advice.sentences import advice_sentences
from batchlab.report.advice.text import advice_text, explain_text
from batchlab.report.notebook_view import notebook_view
from batchlab.report.parts.figure_row import figure_rows
from batchlab.words.catalogue import language

PROFILE = replace(made_up_profile(), memory_limit_bytes=70_000_000)
OPTIONS = r"--(budget|target) \S+"


def written(value: object) -> Iterator[str]:
    """The texts that somebody else wrote: the values of every reason "as_written" inside."""
    if isinstance(value, Reason):
        if value.code == "as_written":
            yield str(value.named["text"]).rstrip(".")
    elif is_dataclass(value):
        for field in fields(value):
            yield from written(getattr(value, field.name))
    elif isinstance(value, tuple):
        for part in value:
            yield from written(part)


def escaped(said: str, advice: Advice) -> list[str]:
    """What of `said` is not from the catalogue, but for names, code, options and others' texts."""
    study = advice_study(advice)
    own = {study.workload.name, *(metric.name for metric in study.workload.metrics)}
    own |= {rule for c in advice.candidates for rule, _ in c.rule_learning_rates}
    own |= {"report.html", PROFILE.device_name, *written(advice)}
    own |= {text[:1].upper() + text[1:] for text in own}
    own |= {sentence.command for sentence in advice_sentences(advice, study)} - {""}
    if advice.recommendation is not None:
        own |= set(script_lines(advice.recommendation))
    for text in sorted(own, key=len, reverse=True):
        # A line of the screen breaks where a blank is.
        said = re.sub(r"\s+".join(map(re.escape, text.split())), "", said)
    return letters_outside(re.sub(OPTIONS, "", said))


def screen(advice: Advice) -> str:
    return advice_text(advice, study=advice_study(advice), report=Path("report.html"))


def sentences(advice: Advice) -> str:
    return "\n".join(map(str, advice_sentences(advice, advice_study(advice))))


def document(advice: Advice) -> str:
    """The texts of the JSON document that stand beside a code."""
    return "\n".join(coded_texts(advice.to_dict()))


def coded_texts(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, part in value.items():
            if f"{name}_coded" in value:
                yield from part
            elif f"{name}_code" in value and part is not None:
                yield part
            else:
                yield from coded_texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from coded_texts(part)


def cell(advice: Advice) -> str:
    return "\n".join(visible_texts(notebook_view(advice)))


def charts(advice: Advice) -> str:
    """All words of all figures and their charts, on a page and on paper."""
    study = advice_study(advice)
    built = [row.build(advice, study, PROFILE) for row in figure_rows(advice_figures)]
    drawn = [str(row.get("text") or "") for figure in built for row in figure.rows]
    return "\n".join([*drawn, *(word for figure in built for word in figure_words(figure))])


def decided(trainings: float, target: float | None = 0.97) -> Advice:
    """An advice with the codes that the advisor gives, on a budget of so many trainings."""
    truth, step_s = Truth(), knee(1024)
    budget_s = trainings * truth.best_steps(64) * step_s(64)
    engine = SimulatedEngine(truth=truth, step_s=step_s)
    return advise(question(step_s, budget_s=budget_s, target=target), engine)


SHOWN = [screen, explain_text, sentences, document, cell, charts]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shown", SHOWN)
def test_nothing_that_is_read_of_an_advice_escapes_the_catalogue(
    kind: str, shown: Callable[[Advice], str]
) -> None:
    advice = KINDS[kind]()

    with language(pseudo_language()):
        said = shown(advice)

    assert said
    assert escaped(said, advice) == []


@pytest.mark.slow
@pytest.mark.parametrize("asked", [(60, None), (60, 0.97), (12, 0.97), (3, 0.97)])
def test_no_code_of_the_advisor_escapes_the_catalogue(asked: tuple[float, float | None]) -> None:
    advice = decided(*asked)

    with language(pseudo_language()):
        said = "\n".join(shown(advice) for shown in SHOWN)

    assert escaped(said, advice) == []
    assert len({step.did.code for step in advice.steps}) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", by_day(KINDS, KINDS_BY_DAY))
def test_nothing_that_is_seen_or_read_out_of_the_page_escapes_the_catalogue(kind: str) -> None:
    advice = KINDS[kind]()

    with language(pseudo_language()):
        texts = visible_texts(render_advice_html(advice, advice_study(advice), PROFILE))

    assert len(texts) > 100
    outside = "\n".join(escaped("\n".join(texts), advice))
    pieces = {piece.strip() for piece in outside.split("\n")}
    assert {p for p in pieces if any(map(str.isalpha, p)) and not NAMES.fullmatch(p)} == set()


def test_a_text_beside_the_catalogue_is_found() -> None:
    advice = KINDS["recommend"]()

    with language(pseudo_language()):
        said = screen(advice) + "\nwritten in place"

    assert [piece.strip() for piece in escaped(said, advice)] == ["written in place"]
