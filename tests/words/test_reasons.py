from __future__ import annotations

import ast
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

import batchlab
from batchlab.records.estimate import Reason
from batchlab.records.quantities import QUANTITIES
from batchlab.words.advice import ADVICE
from batchlab.words.catalogue import text
from batchlab.words.numbers import FORMS
from batchlab.words.reasons import _MEASURED, CAUSES, MESSAGES, reason_text

SOURCE = Path(batchlab.__file__).parent
GIVERS = ("Reason.of", "cls.of")


def reasons_given() -> Iterator[tuple[str, str | None, set[str]]]:
    """Place, code and names of the values of every reason that the source gives."""
    for file in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in GIVERS and node.args:
                first, names = node.args[0], {keyword.arg or "**" for keyword in node.keywords}
                code = first.value if isinstance(first, ast.Constant) else None
                if code is None and ast.unparse(node.func) == "cls.of":
                    continue  # another class's constructor
                place = f"{file.relative_to(SOURCE)}:{node.lineno}"
                yield place, code if isinstance(code, str) else None, names


GIVEN = tuple(reasons_given())


def fields_in(message: str) -> Iterator[tuple[str, str]]:
    """Names and forms, those within the form of a count too."""
    for _, name, form, _ in string.Formatter().parse(message):
        if name is not None:
            yield name, form or ""
            yield from fields_in(form or "")


def names_in(message: str) -> set[str]:
    return {name for name, _ in fields_in(message)}


def test_every_reason_that_is_given_has_its_words() -> None:
    assert [(place, code) for place, code, _ in GIVEN if code not in MESSAGES] == []


def test_every_row_is_a_reason_that_somebody_gives() -> None:
    assert set(MESSAGES) - {code for _, code, _ in GIVEN} == set()


def test_every_name_in_a_text_is_a_value_of_its_reason() -> None:
    missing = [
        (place, code, names_in(MESSAGES[code]) - names)
        for place, code, names in GIVEN
        if code in MESSAGES and names_in(MESSAGES[code]) - names
    ]

    assert missing == []


def test_a_rate_is_written_as_a_rate_in_every_reason() -> None:
    forms = {
        code: form
        for code, message in MESSAGES.items()
        for name, form in fields_in(message)
        if name == "rate"
    }

    assert len(forms) > 5
    # Without a form it would have all its digits: 0.056568542494923805.
    assert set(forms.values()) == {"rate"}, forms


def test_every_cause_that_has_words_is_found_by_the_check() -> None:
    source = (SOURCE / "measure" / "accumulation.py").read_text(encoding="utf-8")

    assert [cause for cause in CAUSES if f'"{cause}"' not in source] == []


def test_the_chance_of_a_model_is_not_worded_as_a_share_of_answers() -> None:
    """Only of a doubling that was not run is the number a share of recorded answers."""
    with_chance = {code for code, words in MESSAGES.items() if "chance" in names_in(words)}

    assert with_chance - {"doubled_unseen"} == {
        code for code in with_chance if "a chance of {chance:" in MESSAGES[code]
    }


def test_a_code_is_in_one_table_only() -> None:
    assert ADVICE.keys() & _MEASURED.keys() == set()


@pytest.mark.parametrize("code", sorted(MESSAGES))
def test_every_text_can_be_written(code: str) -> None:
    forms = {quantity.name for quantity in QUANTITIES} | set(FORMS) | {"term", "moment"}
    for name, form in fields_in(MESSAGES[code]):
        assert name != "", f"{code}: a value without a name"
        assert form in forms or not form.isidentifier(), f"{code}: {form!r}"
    for n in (1, 2):
        values = {name: n for name in names_in(MESSAGES[code])}
        assert text(MESSAGES[code], **values)


def test_a_reason_that_quotes_another_is_text_all_through() -> None:
    inner = Reason.as_written("a and b")
    outer = Reason.of("as_written", text=Reason.of("as_written", text=inner))

    assert reason_text(outer) == "a and b"
    assert reason_text(Reason.of("as_written", text=(inner, "c"))) == "a and b, c"


def test_no_reason_is_no_text() -> None:
    assert reason_text(None) == ""
