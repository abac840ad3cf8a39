"""A record as a document: reasons as text, code and values, by the schema of its kind, and back."""

from __future__ import annotations

import json
from dataclasses import dataclass

import jsonschema
import msgspec
import pytest

from batchlab.records.estimate import Estimate, Reason
from batchlab.words.document import coded, document_text, plain, reason_of, schema_text
from batchlab.words.reasons import reason_text

INNER = Reason.of("no_trial_ended_well")
OUTER = Reason.of("size_did_not_run", size=8, why=INNER)
SIZES = Reason.of("compared_by_examples", sizes=(8, 16), why=INNER)
CODED = {"code": INNER.code, "values": {}}


@dataclass(frozen=True, kw_only=True)
class Part:
    gain: Estimate
    note: Reason | None = None


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    why: Reason
    caveats: tuple[Reason, ...]
    parts: tuple[Part, ...]
    sizes: dict[str, tuple[int, ...]]


def test_a_reason_is_its_text_with_its_code_and_values_beside_it_by_the_schema() -> None:
    parts = (Part(gain=Estimate.cannot_tell(INNER, n=2)),)
    whole = Whole(why=OUTER, caveats=(SIZES,), parts=parts, sizes={"tried": (8, 16)})
    schema = json.loads(schema_text(Whole))
    made = plain(whole)

    assert made == {
        "why": "batch size 8 did not run: no trial ended well; run one that does",
        "why_code": "size_did_not_run",
        "why_values": {"size": 8, "why": CODED},
        "caveats": [reason_text(SIZES)],
        "caveats_coded": [
            {"code": "compared_by_examples", "values": {"sizes": [8, 16], "why": CODED}}
        ],
        "parts": made["parts"],
        "sizes": {"tried": [8, 16]},
    }
    (part,) = made["parts"]  # an estimate keeps its promised names
    unknown = dict.fromkeys(("estimate", "low", "high")) | {"n": 2, "reason": reason_text(INNER)}
    assert part["gain"] == unknown | {"reason_code": INNER.code, "reason_values": {}}
    assert (part["note"], part["note_code"], part["note_values"]) == (None, None, None)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(document_text(whole)), schema)
    assert set(schema["$defs"]["Whole"]["properties"]) == set(made)


@pytest.mark.parametrize("reason", [INNER, OUTER, SIZES])
def test_a_reason_is_read_back_from_its_code_and_values(reason: Reason) -> None:
    known = json.loads(json.dumps(coded(reason)))

    assert reason_of("the text is not read", known["code"], known["values"]) == reason
    assert reason_of(None, None, None) is None


@pytest.mark.parametrize(
    ("code", "values"),
    [
        ("a_code_of_another_version", {}),
        *(("size_did_not_run", values) for values in ({"size": 8}, None)),
        ("size_did_not_run", {"size": 8, "why": {"no": "reason"}}),
        ("compared_by_examples", {"sizes": [[1]]}),
        ("target_missed_by_all", {"n": [{}]}),
        (None, None),
    ],
)
def test_a_reason_that_cannot_be_said_keeps_its_text(code, values) -> None:
    assert reason_of("what was written", code, values) == Reason.as_written("what was written")
