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


@dataclass(frozen=True, kw_only=True)
class Part:
    gain: Estimate
    note: Reason | None = None


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    why: Reason
    caveats: tuple[Reason, ...]
    parts: tuple[Part, ...]
    sizes: dict[str, tuple[int, ...]]


WHOLE = Whole(
    why=OUTER,
    caveats=(SIZES,),
    parts=(Part(gain=Estimate.cannot_tell(INNER, n=2)),),
    sizes={"tried": (8, 16)},
)


def test_a_reason_is_its_text_with_its_code_and_values_beside_it() -> None:
    made = plain(WHOLE)

    assert made["why"] == "batch size 8 did not run: no trial ended well; run one that does"
    assert made["why_code"] == "size_did_not_run"
    assert made["why_values"] == {"size": 8, "why": {"code": INNER.code, "values": {}}}
    assert made["caveats"] == [reason_text(SIZES)]
    values = {"sizes": [8, 16], "why": {"code": INNER.code, "values": {}}}
    assert made["caveats_coded"] == [{"code": "compared_by_examples", "values": values}]
    assert made["sizes"] == {"tried": [8, 16]}
    (part,) = made["parts"]  # an estimate keeps its promised names
    assert part["gain"] == {
        "estimate": None,
        "low": None,
        "high": None,
        "n": 2,
        "reason": "no trial ended well; run one that does",
        "reason_code": "no_trial_ended_well",
        "reason_values": {},
    }
    assert (part["note"], part["note_code"], part["note_values"]) == (None, None, None)


def test_a_document_fits_the_schema_of_its_kind() -> None:
    schema = json.loads(schema_text(Whole))

    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(document_text(WHOLE)), schema)
    described = schema["$defs"]["Whole"]["properties"]
    assert set(described) == set(plain(WHOLE))


@pytest.mark.parametrize("reason", [INNER, OUTER, SIZES])
def test_a_reason_is_read_back_from_its_code_and_values(reason: Reason) -> None:
    known = json.loads(json.dumps(coded(reason)))

    assert reason_of("the text is not read", known["code"], known["values"]) == reason
    assert reason_of(None, None, None) is None


@pytest.mark.parametrize(
    ("code", "values"),
    [
        ("a_code_of_another_version", {}),
        ("size_did_not_run", {"size": 8}),
        ("size_did_not_run", None),
        ("compared_by_examples", {"sizes": [[1]]}),
        ("size_did_not_run", {"size": 8, "why": {"no": "reason"}}),
        ("target_missed_by_all", {"n": [{}]}),
        (None, None),
    ],
)
def test_a_reason_that_cannot_be_said_keeps_its_text(code: str | None, values: object) -> None:
    found = reason_of("what was written", code, values)  # type: ignore[arg-type]

    assert found == Reason.as_written("what was written")
