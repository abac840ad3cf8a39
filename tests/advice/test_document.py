import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.reference.made_up_advice import KINDS, advice_study, made_up_advice

from batchlab.advice.advice import Advice, advice_document, advice_schema

SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "advise.json"

# The names that scripts rely on (design, "What --json prints"): they may grow, never shrink.
ADVISE = {
    *("schema", "command", "workload", "verdict", "reason", "objective", "recommendation"),
    "provisional",
    *("flat_set", "expected", "gain", "gain_from_batch_size", "reference", "laws", "target"),
    *("trials", "spent_s", "budget_s", "report"),
}
RECOMMENDATION = {"batch_size", "micro_batch_size", "accumulation_steps", "learning_rate"}
EXPECTED = {"time_to_target_s", "steps_to_target", "samples_to_target", "peak_bytes"}
LAWS = {"s_min", "e_min", "b_crit"}
ESTIMATE = {"estimate", "low", "high", "n", "reason", "reason_code", "reason_values"}


def document_of(advice: Advice, *, report: Path | None = None) -> dict[str, Any]:
    text = advice_document(advice, advice_study(advice), store=Path("lab.db"), report=report)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    document: dict[str, Any] = json.loads(text, parse_constant=refuse)
    jsonschema.validate(document, json.loads(advice_schema()))
    return document


def test_a_document_has_every_promised_name() -> None:
    document = document_of(made_up_advice(), report=Path("out.html"))

    assert set(document) >= ADVISE
    assert set(document["recommendation"]) >= RECOMMENDATION
    assert set(document["expected"]) >= EXPECTED
    assert set(document["laws"]) >= LAWS
    assert set(document["gain"]) == ESTIMATE
    assert set(document["target"]) >= {"metric", "value"}
    assert (document["schema"], document["command"]) == (1, "advise")
    assert (document["store"], document["report"]) == ("lab.db", "out.html")


@pytest.mark.slow
@pytest.mark.parametrize("made", KINDS.values(), ids=KINDS)
def test_the_dict_of_an_advice_is_the_document_but_for_where_it_is_from(
    made: Callable[[], Advice],
) -> None:
    advice = made()

    found = advice.to_dict()

    jsonschema.validate(found, json.loads(SCHEMA.read_text()))
    where = {"command_line", "study", "workload", "environment", "store"}
    assert found == document_of(advice) | dict.fromkeys(where)
