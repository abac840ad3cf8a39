"""The folded sentences have only terms that are explained beside them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.reference.made_up_advice import KINDS, advice_study

from batchlab.report.advice_page import TERMS, researcher_terms
from batchlab.report.advice_text import RESEARCH_TOPICS, advice_sentences
from batchlab.report.text import Sentence

SYMBOLS = r"\b(B_crit|S_min|E_min|p =|exponent)"


def research(kind: str) -> list[Sentence]:
    advice = KINDS[kind]()
    said = advice_sentences(advice, advice_study(advice))
    return [sentence for sentence in said if sentence.topic in RESEARCH_TOPICS]


@pytest.mark.parametrize("kind", KINDS)
def test_every_symbol_that_is_folded_away_is_explained_beside_it(kind: str) -> None:
    words = " ".join(map(str, research(kind)))
    symbols = {found.removesuffix(" =") for found in re.findall(SYMBOLS, words)}

    assert symbols <= dict(researcher_terms(research(kind))).keys()


@pytest.mark.parametrize("kind", KINDS)
def test_outside_the_fold_no_sentence_needs_a_symbol(kind: str) -> None:
    advice = KINDS[kind]()
    said = advice_sentences(advice, advice_study(advice))
    plain = [str(sentence) for sentence in said if sentence.topic not in RESEARCH_TOPICS]

    assert [sentence for sentence in plain if re.search(SYMBOLS, sentence)] == []


def test_only_terms_that_stand_there_are_explained() -> None:
    said = [Sentence(topic="x", text="S_min: 300.")]

    assert [term for term, _ in researcher_terms(said)] == ["S_min"]
    assert researcher_terms([]) == ()


def test_each_meaning_is_in_the_glossary_of_the_documentation_as_well() -> None:
    glossary = (Path(__file__).parents[3] / "docs" / "glossary.md").read_text().lower()
    missing = [term for term in TERMS if not re.search(rf"\b{term.lower()}", glossary)]

    assert missing == []
