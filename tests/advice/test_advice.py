"""An advice: a short name for itself, its rate set in an optimizer, and its document."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from scripts.schemas import advice_schema
from tests.reference.made_up_advice import (
    KINDS,
    KINDS_BY_DAY,
    advice_study,
    cannot_tell_advice,
    made_up_advice,
)

from batchlab.advice.advice import Advice, advice_document
from batchlab.errors import UsageError
from batchlab.records.study import AdamSettings


def groups_of(name, *values):
    return [{"params": [torch.nn.Parameter(torch.ones(1))], name: value} for value in values]


def test_its_repr_names_the_verdict_and_the_configuration_alone() -> None:
    said = repr(made_up_advice())

    assert said.startswith("Advice(verdict='recommend', recommendation=Configuration(batch_size=")
    assert len(said) < 200
    assert repr(NOTHING_NAMED) == "Advice(verdict='cannot_tell')"


NOTHING_NAMED = replace(cannot_tell_advice(), provisional=None)
BEST_SO_FAR = replace(cannot_tell_advice(), provisional=made_up_advice().recommendation)


@pytest.mark.parametrize("advice", [made_up_advice(), BEST_SO_FAR, NOTHING_NAMED])
def test_applied_the_rate_is_that_of_every_group(advice: Advice) -> None:
    optimizer = torch.optim.SGD(groups_of("lr", 0.01, 1.0))

    refused = pytest.raises(UsageError, match="recommends no configuration")
    with nullcontext() if advice.named else refused:
        advice.apply(optimizer)

    rates = [0.26, 0.26] if advice.named else [0.01, 1.0]
    assert [group["lr"] for group in optimizer.param_groups] == rates


MOVED = AdamSettings(betas=(0.9, 0.992), weight_decay=0.28)


@pytest.mark.parametrize(("adam", "decay"), [(MOVED, 0.28), (None, 0.1)])
def test_applied_other_settings_are_those_that_moved(adam, decay) -> None:
    named = replace(made_up_advice().recommendation, adam=adam)
    optimizer = torch.optim.AdamW(groups_of("weight_decay", 0.1, 0))

    replace(made_up_advice(), recommendation=named).apply(optimizer)

    assert [group["weight_decay"] for group in optimizer.param_groups] == [decay, 0]
    betas = (0.9, 0.992) if adam else (0.9, 0.999)
    assert {group["betas"] for group in optimizer.param_groups} == {betas}


# The names that scripts rely on (design, "What --json prints"): they may grow, never shrink.
PROMISED = {
    "": "schema command workload verdict reason objective recommendation provisional flat_set "
    "gain gain_from_batch_size reference laws target trials spent_s budget_s report",
    "recommendation": "batch_size micro_batch_size accumulation_steps learning_rate",
    "laws": "s_min e_min b_crit",
    "gain": "estimate low high n reason",
    "target": "metric value",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS_BY_DAY)
def test_a_document_has_every_promised_name_and_its_dict_lacks_only_where_it_is_from(
    kind: str,
) -> None:
    advice = KINDS[kind]()
    files = {"store": Path("lab.db"), "report": Path("out.html")}

    text = advice_document(advice, advice_study(advice), **files)

    document: dict[str, Any] = json.loads(text, parse_constant=pytest.fail)  # of no JSON
    for found in (document, advice.to_dict()):
        jsonschema.validate(found, json.loads(advice_schema()))
    for part, names in PROMISED.items():
        fields = document[part] if part else document
        assert fields is None or set(fields) >= set(names.split())
    told = [document[name] for name in ("schema", "command", "store", "report")]
    assert told == [1, "advise", "lab.db", "out.html"]
    where = {"command_line", "study", "workload", "environment", "store", "report"}
    assert advice.to_dict() == document | dict.fromkeys(where)
