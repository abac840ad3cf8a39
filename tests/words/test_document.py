"""A record as a document: reasons as text, code and values, by the schema of its kind, and back."""

import json
import string
from collections.abc import Iterator
from dataclasses import dataclass

import jsonschema
import msgspec
import pytest
from scripts.messages import dead, missing, said
from scripts.schemas import schema_text

from batchlab.records.estimate import Estimate, Reason
from batchlab.records.quantities import QUANTITIES
from batchlab.words.catalogue import CAUSES, SENTENCES, text
from batchlab.words.document import document_text, reason_of
from batchlab.words.numbers import FORMS
from batchlab.words.reasons import reason_text

INNER = Reason.of("no_trial_ended_well")
OUTER = Reason.of("size_did_not_run", size=8, why=INNER)
SIZES = Reason.of("compared_by_examples", sizes=(8, 16), why=INNER)


@dataclass(frozen=True, kw_only=True)
class Part:
    gain: Estimate
    note: Reason | None = None


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    why: Reason
    caveats: tuple[Reason, ...]
    parts: tuple[Part, ...]
    sizes: dict[str, tuple[int, ...]]


def test_a_reason_is_its_text_code_and_values_by_the_schema_and_back():
    parts = (Part(gain=Estimate.cannot_tell(INNER, n=2)),)
    whole = Whole(why=OUTER, caveats=(SIZES,), parts=parts, sizes={"tried": (8, 16)})
    schema = json.loads(schema_text(Whole))
    made = json.loads(document_text(whole))

    inner = {"text": reason_text(INNER), "code": INNER.code, "values": {}}
    unknown = dict.fromkeys(("estimate", "low", "high")) | {"n": 2, "reason": inner}
    assert made == {
        "why": {
            "text": "batch size 8 did not run: no training ended well; run one that does",
            "code": "size_did_not_run",
            "values": {"size": 8, "why": inner},
        },
        "caveats": [
            {
                "text": reason_text(SIZES),
                "code": "compared_by_examples",
                "values": {"sizes": [8, 16], "why": inner},
            }
        ],
        "parts": [{"gain": unknown, "note": None}],
        "sizes": {"tried": [8, 16]},
    }
    assert reason_of(made["why"]) == OUTER
    assert reason_of(made["caveats"]) == (SIZES,)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(made, schema)
    assert set(schema["$defs"]["Whole"]["properties"]) == set(made)


# ---- the catalogue of sentences: each has its words, its values and its forms


def fields_in(message: str) -> Iterator[tuple[str, str]]:
    """Names and forms, those within the form of a count too."""
    for _, name, form, _ in string.Formatter().parse(message):
        if name is not None:
            yield name, form or ""
            yield from fields_in(form or "")


def names_in(message: str) -> set[str]:
    return {name for name, _ in fields_in(message)}


@pytest.mark.slow  # it reads the whole source
def test_every_code_that_is_said_has_its_words_and_the_other_way_round():
    assert [str(place) for place in missing()] == []
    assert dead() == []
    assert len(SENTENCES) + len(CAUSES) <= 250  # few enough to read them all


@pytest.mark.slow  # it reads the whole source
def test_every_name_in_a_sentence_is_given_a_value():
    known = [place for place in said() if place.values is not None]
    for place in known:
        assert names_in(SENTENCES[place.code]) <= place.values, str(place)

    known = {place.code for place in known}
    assert len({*SENTENCES} - known) <= 25, {*SENTENCES} - known


def test_a_rate_is_written_as_a_rate_in_every_sentence():
    fields = [field for message in SENTENCES.values() for field in fields_in(message)]

    # Without a form it would have all its digits: 0.056568542494923805.
    assert {form for name, form in fields if name == "rate"} == {"rate"}


def test_every_text_can_be_written():
    forms = {quantity.name for quantity in QUANTITIES} | {*FORMS, "of_validation"}
    for code, message in SENTENCES.items():
        for name, form in fields_in(message):
            assert name != "", f"{code}: a value without a name"
            assert form in forms or not form.isidentifier(), f"{code}: {form!r}"
        for n in (1, 2):
            assert text(message, **dict.fromkeys(names_in(message), n))


def test_a_reason_that_quotes_another_is_text_all_through():
    inner = Reason.as_written("a and b.")
    outer = Reason.of("as_written", text=Reason.of("as_written", text=inner))

    assert reason_text(outer) == "a and b"
    assert reason_text(Reason.of("as_written", text=(inner, "c"))) == "a and b, c"


def test_a_reason_of_another_version_is_written_as_it_was_stored():
    inner = Reason.of("ends_somewhere", level=0.9)

    assert (
        reason_text(Reason.of("own_fails", how=inner)) == "own_fails how=ends_somewhere level=0.9"
    )
    assert reason_text(None) == ""
