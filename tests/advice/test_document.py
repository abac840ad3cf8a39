import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.reference.made_up_advice import KINDS, advice_study, made_up_advice

from batchlab.advice.advice import Advice, advice_document, advice_schema

SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "advise.json"

# The names that scripts rely on (design, "What --json prints"): they may grow, never shrink.
PROMISED = {
    "": "schema command workload verdict reason objective recommendation provisional flat_set "
    "expected gain gain_from_batch_size reference laws target trials spent_s budget_s report",
    "recommendation": "batch_size micro_batch_size accumulation_steps learning_rate",
    "expected": "time_to_target_s steps_to_target samples_to_target peak_bytes",
    "laws": "s_min e_min b_crit",
    "gain": "estimate low high n reason reason_code reason_values",
    "target": "metric value",
}


def document_of(advice: Advice, *, report: Path | None = None) -> dict[str, Any]:
    text = advice_document(advice, advice_study(advice), store=Path("lab.db"), report=report)
    document: dict[str, Any] = json.loads(text, parse_constant=pytest.fail)  # of no JSON
    jsonschema.validate(document, json.loads(advice_schema()))
    return document


def test_a_document_has_every_promised_name() -> None:
    document = document_of(made_up_advice(), report=Path("out.html"))

    for part, names in PROMISED.items():
        assert set(document[part] if part else document) >= set(names.split())
    told = [document[name] for name in ("schema", "command", "store", "report")]
    assert told == [1, "advise", "lab.db", "out.html"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_dict_of_an_advice_is_the_document_but_for_where_it_is_from(kind: str) -> None:
    advice = KINDS[kind]()

    found = advice.to_dict()

    jsonschema.validate(found, json.loads(SCHEMA.read_text()))
    where = {"command_line", "study", "workload", "environment", "store"}
    assert found == document_of(advice) | dict.fromkeys(where)
