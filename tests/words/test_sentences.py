"""Every sentence of the catalogue is short enough to be read once."""

from __future__ import annotations

import re

from tests.reference.catalogue_messages import MOST_WORDS, SOURCES, messages


def sentences(message: str) -> list[str]:
    """Each sentence, a value being a word."""
    return re.split(r"(?<=[.!?])\s+", re.sub(r"\{[^}]*\}", "X", message))


def test_words_are_found_at_all() -> None:
    assert sum(len(list(messages(source))) for source in SOURCES) > 1000


def test_no_sentence_has_more_than_thirty_words() -> None:
    long = [
        sentence
        for source in SOURCES
        for message in messages(source)
        for sentence in sentences(message)
        if len(sentence.split()) > MOST_WORDS
    ]

    assert long == []


def test_the_spelling_is_american() -> None:
    british = re.compile(r"(?i)(colour|behaviour|normalis|generalis|optimis|neighbour)")
    found = [m for source in SOURCES for m in messages(source) if british.search(m)]

    assert found == []
