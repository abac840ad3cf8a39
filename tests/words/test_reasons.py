from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator

import pytest
from scripts.messages import SOURCE, dead, missing, said

from batchlab.records.estimate import Reason
from batchlab.records.quantities import QUANTITIES
from batchlab.words.catalogue import CAUSES, SENTENCES, text
from batchlab.words.numbers import FORMS
from batchlab.words.reasons import has_words, reason_text


def fields_in(message: str) -> Iterator[tuple[str, str]]:
    """Names and forms, those within the form of a count too."""
    for _, name, form, _ in string.Formatter().parse(message):
        if name is not None:
            yield name, form or ""
            yield from fields_in(form or "")


def names_in(message: str) -> set[str]:
    return {name for name, _ in fields_in(message)}


def test_every_code_that_is_said_has_its_words() -> None:
    assert [str(place) for place in missing()] == []


def test_every_code_that_has_words_is_said() -> None:
    assert dead() == []


def test_there_are_few_enough_sentences_to_read_them_all() -> None:
    assert len(SENTENCES) + len(CAUSES) <= 250


def test_every_name_in_a_sentence_is_given_a_value() -> None:
    lacking = [
        (str(place), place.code, names_in(SENTENCES[place.code]) - place.values)
        for place in said()
        if place.values is not None and names_in(SENTENCES[place.code]) - place.values
    ]

    assert lacking == []


def test_of_nearly_every_sentence_the_values_are_known() -> None:
    known = {place.code for place in said() if place.values is not None}

    assert len({*SENTENCES} - known) <= 25, {*SENTENCES} - known


def test_every_value_of_a_sentence_is_shown_or_read() -> None:
    """What nothing shows and nothing reads is a leftover of an earlier sentence."""
    source = "".join(path.read_text("utf-8") for path in SOURCE.rglob("*.py"))
    said_with: dict[tuple[str, frozenset[str]], set[str]] = {}
    for place in said():
        if place.values:  # several that are said by one call show its values together
            shown = said_with.setdefault((place.file, place.values), set())
            shown |= names_in(SENTENCES[place.code])
    unused = [
        (file, name)
        for (file, values), shown in said_with.items()
        for name in values - shown
        if f'named["{name}"]' not in source
    ]

    assert unused == []


def test_what_stands_beside_the_code_is_a_label() -> None:
    """A sentence has its place in the table; "Small circles: single runs." is the key of a mark."""
    trees = [ast.parse(path.read_text("utf-8")) for path in (SOURCE / "report").glob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    docstrings = [node.value for node in nodes if isinstance(node, ast.Expr)]
    texts = [
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if node not in docstrings
    ]
    page = (SOURCE / "report" / "page.html.j2").read_text("utf-8")
    texts += re.findall(r'say\("(.*?)"', page)

    assert [each for each in texts if each.endswith(".") and VERBS.search(each)] == []


VERBS = re.compile(
    r"\b(is|are|was|has|have|had|did|does|can|takes?|needs?|ends|differs?|would|may|ran|shows?|"
    r"gives?|reach(es|ed)?)\b"
)


def test_a_rate_is_written_as_a_rate_in_every_sentence() -> None:
    forms = {
        code: form
        for code, message in SENTENCES.items()
        for name, form in fields_in(message)
        if name == "rate"
    }

    assert len(forms) > 5
    # Without a form it would have all its digits: 0.056568542494923805.
    assert set(forms.values()) == {"rate"}, forms


# What is counted there is never one: several seeds or devices, examples by the dozen, a plan.
NEVER_ONE = {
    *("batches_are_split", "devices_share_batches", "missed_the_level", "stopped_when_slower"),
    *("few_validation_examples", "seeds_draw_examples"),
    *("gradient_lost_in_batches", "gradient_lost_in_noise", "losses_far_above_untrained"),
    *("metric_never_changed", "no_pilot_learned"),
    *("rate_followed_schedule", "same_failure_again"),
}


def test_what_may_be_one_is_not_told_in_the_plural() -> None:
    counts = "n|rest|runs|steps|epochs|missed"
    plurals = {
        code
        for code, message in SENTENCES.items()
        if re.search(rf"\{{({counts})\}} (?:more |fresh )?(?!its)[a-z]+s\b", message)
    }

    assert plurals - NEVER_ONE == set()


@pytest.mark.parametrize("code", sorted(SENTENCES))
def test_every_text_can_be_written(code: str) -> None:
    forms = {quantity.name for quantity in QUANTITIES} | {*FORMS, "of_validation"}
    for name, form in fields_in(SENTENCES[code]):
        assert name != "", f"{code}: a value without a name"
        assert form in forms or not form.isidentifier(), f"{code}: {form!r}"
    for n in (1, 2):
        values = {name: n for name in names_in(SENTENCES[code])}
        assert text(SENTENCES[code], **values)


def test_a_reason_that_quotes_another_is_text_all_through() -> None:
    inner = Reason.as_written("a and b")
    outer = Reason.of("as_written", text=Reason.of("as_written", text=inner))

    assert reason_text(outer) == "a and b"
    assert reason_text(Reason.of("as_written", text=(inner, "c"))) == "a and b, c"


def test_no_reason_is_no_text() -> None:
    assert reason_text(None) == ""


def test_a_reason_of_another_version_is_written_as_it_was_stored() -> None:
    inner = Reason.of("ends_somewhere", level=0.9)

    assert reason_text(inner) == "ends somewhere (level 0.9)"
    assert reason_text(Reason.of("own_fails", how=inner)) == (
        "own fails (how ends somewhere (level 0.9))"
    )
    assert not has_words(inner)
