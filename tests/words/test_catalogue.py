from __future__ import annotations

import gettext

import pytest
from tests.reference.pseudo_language import letters_outside, pseudo_language

from batchlab.words.catalogue import language, listing, number_text, plural, text
from batchlab.words.language import Language


class German(gettext.NullTranslations):
    def gettext(self, message: str) -> str:
        return {"{n} of {m}, {share:percent}": "von {m} {n}, {share:percent}"}.get(message, message)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return "ein Lauf" if n == 1 else "{n} Läufe"


def with_a_comma(value: float, form: str) -> str:
    return f"{value:{form}}".replace(".", ",") if form != "percent" else f"{100 * value:.0f}%"


GERMAN = Language(translations=German(), number=with_a_comma)


def test_english_is_the_text_of_the_source_with_its_values() -> None:
    said = text("took {spent_s:train_s}, {left:.2f} of {what}", spent_s=90, left=0.456, what="it")

    assert said == "took 90 s, 0.46 of it"


def test_a_value_that_is_not_known_is_a_dash() -> None:
    assert text("{a:train_s} and {b}", a=None, b=None) == "– and –"
    assert number_text(None, "train_s") == "–"


@pytest.mark.parametrize(("n", "said"), [(1, "1 run"), (0, "0 runs"), (7, "7 runs")])
def test_a_count_chooses_the_form_of_its_text(n: int, said: str) -> None:
    assert plural("{n} run", "{n} runs", n) == said


def test_a_language_may_order_the_values_anew_and_writes_its_own_numbers() -> None:
    with language(GERMAN):
        said = text("{n} of {m}, {share:percent}", n=1, m=2, share=0.5)
        number = number_text(1.5, ".1f")
        runs = plural("one run", "{n} runs", 3)

    assert (said, number, runs) == ("von 2 1, 50%", "1,5", "3 Läufe")


def test_the_language_before_comes_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), language(GERMAN):
        raise ZeroDivisionError

    assert number_text(1.5, ".1f") == "1.5"


@pytest.mark.parametrize(
    ("parts", "said"),
    [(["16"], "16"), (["16", "32"], "16 and 32"), (["16", "32", "64"], "16, 32 and 64")],
)
def test_several_things_are_listed_as_one_speaks(parts: list[str], said: str) -> None:
    assert listing(parts) == said


def test_a_value_reaches_no_attribute() -> None:
    with pytest.raises(KeyError):
        text("{name.__class__}", name="x")


def test_the_pseudo_language_shows_what_did_not_come_from_the_catalogue() -> None:
    with language(pseudo_language()):
        said = text("It took {time_s:train_s} with {how}.", time_s=3.0, how="plain words")

    assert letters_outside(said) == ["plain words"]


def test_the_pseudo_language_finds_nothing_where_all_is_said_by_the_catalogue() -> None:
    with language(pseudo_language()):
        said = text(
            "It took {n} with {how}.", n=plural("{n} run", "{n} runs", 2), how=listing(["1", "2"])
        )

    assert letters_outside(said) == []
