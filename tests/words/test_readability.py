"""What people read is plain English: by Flesch's reading ease, and no sentence over 30 words.

Numbers count as the word "ten" (see `tests.reference.reading_ease`), and so do the values of a
message that are numbers or names; where a value is a clause of its own, a short one stands in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from statistics import median

import pytest
from tests.reference.catalogue_messages import MOST_WORDS, SOURCES, messages
from tests.reference.made_up_advice import KINDS, advice_study
from tests.reference.reading_ease import reading_ease, sentences, syllables

from batchlab.advice.advice import Advice
from batchlab.report.advice.sentences import advice_sentences
from batchlab.report.advice.side_by_side import side_by_side
from batchlab.report.advice.text import advice_text
from batchlab.report.parts.reason_clause import whole_sentence

PLAIN = 60  # Flesch: "plain English"
# Below it are only the names of things that a message has to quote: "BatchNorm", "Conv2d".
HARDEST = 45
# The formula is of prose: in a label of a few words one long word ("configuration") is everything.
FEWEST_WORDS = 8

_CLAUSES = ("why", "reason", "missing", "what", "parts", "judged")
VALUES = {name: "two runs failed" for name in _CLAUSES} | {
    "configuration": "your own batch size",
    "target": "a loss of ten",
    "set_this": "use batch size ten",
    "setting": "use batch size ten",
    "near": "near the best",
    "takes": "takes twice as long",
    "compared": "takes twice as long",
}


def with_values(message: str) -> str:
    """A message of the catalogue with made-up values."""
    return re.sub(r"\{(\w*)[^}]*\}", lambda field: VALUES.get(field[1], "ten"), message)


MESSAGES = {
    f"{source.stem}: {message}": with_values(message)
    for source in SOURCES
    for message in messages(source)
}
PROSE = {
    name: reading_ease(text)
    for name, text in MESSAGES.items()
    if sum(map(len, sentences(text))) >= FEWEST_WORDS
}


def first_screen(advice: Advice) -> Iterator[str]:
    """What the top of the page says: the answer, why, the labels of the table, how to go on."""
    said = {s.topic: s for s in advice_sentences(advice, advice_study(advice))}
    yield said["answer"].text
    lead = said.get("why") or said.get("how sure")
    if lead is not None:
        yield lead.text
    if (compared := side_by_side(advice)) is not None:
        yield ". ".join(str(row[0]) for row in compared.rows)
    if "what would settle it" in said:
        yield said["what would settle it"].text


def on_the_terminal(advice: Advice) -> Iterator[str]:
    """The sentences that stand on the terminal's screen, without labels, table and bars."""
    study = advice_study(advice)
    screen = " ".join(advice_text(advice, study=study, report=None).split())
    sentences_and_caveats = [
        *map(str, advice_sentences(advice, study)),
        *map(whole_sentence, advice.caveats),
    ]
    yield from (each for each in sentences_and_caveats if each in screen)


def test_a_known_text_has_the_reading_ease_that_the_formula_gives() -> None:
    # 6 words, 6 syllables; 10 words of 13 syllables in two sentences.
    assert reading_ease("The cat sat on the mat.") == pytest.approx(206.835 - 1.015 * 6 - 84.6)
    said = "A larger batch is better here. It needs fewer steps."
    assert reading_ease(said) == pytest.approx(206.835 - 1.015 * 5 - 84.6 * 1.3)


def test_a_number_and_its_unit_are_one_plain_word() -> None:
    assert sentences("It takes 1,024.5 ms (95 %: 0.26 to 3e-4).") == [
        ["It", "takes", "ten", "ten", "ten", "to", "ten"]
    ]
    assert syllables("recommendation") == 5
    assert syllables("hyperparameter") > 4  # in no dictionary: where it would be cut


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_screen_is_plain_english(kind: str) -> None:
    said = " ".join(f"{part.rstrip('.')}." for part in first_screen(KINDS[kind]()))

    assert reading_ease(said) >= PLAIN


@pytest.mark.parametrize("kind", KINDS)
def test_the_terminal_speaks_plain_english(kind: str) -> None:
    said = list(on_the_terminal(KINDS[kind]()))

    assert len(said) >= 2
    assert reading_ease(" ".join(said)) >= PLAIN


@pytest.mark.parametrize("kind", KINDS)
def test_no_sentence_of_an_advice_is_longer_than_thirty_words(kind: str) -> None:
    advice = KINDS[kind]()
    said = " ".join(map(str, advice_sentences(advice, advice_study(advice))))

    assert [found for found in sentences(said) if len(found) > MOST_WORDS] == []


def test_no_message_with_its_values_has_a_sentence_over_thirty_words() -> None:
    long = [
        name
        for name, text in MESSAGES.items()
        if any(len(found) > MOST_WORDS for found in sentences(text))
    ]

    assert long == []


def test_the_catalogue_is_plain_english() -> None:
    assert len(PROSE) > 400
    assert median(PROSE.values()) >= PLAIN


def test_no_message_is_hard_to_read() -> None:
    hard = {name: round(ease) for name, ease in PROSE.items() if ease < HARDEST}

    assert hard == {}
