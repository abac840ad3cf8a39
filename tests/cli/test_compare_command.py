"""`batchlab compare` as it is typed: stores, ids and profiles."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
from tests.cli.conftest import Done
from tests.reference.made_up_study import STUDY, store_with_study
from tests.reference.stored_study import put_study
from tests.reference.studies_to_compare import profile_to_compare, study_to_compare

from batchlab.runs.replay import Journal, JournalEntry
from batchlab.store.store import Store

SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "compare.json"


def test_two_stores_are_compared_as_text_and_as_one_document(do: Any) -> None:
    draw = np.random.default_rng(5)
    for name, slower in (("before.db", 1.0), ("after.db", 1.5)):
        with Store(name) as store:
            put_study(store, study_to_compare(draw, slower=slower))

    done, as_json = (
        do("compare", "before.db", "after.db"),
        do("compare", "a", "after.db", "--json", "--store", "before.db"),
    )

    assert (done.code, done.err) == (as_json.code, as_json.err) == (0, "")
    document = json.loads(as_json.out)
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert document["command"] == "compare"
    verdicts = {figure["quantity"]: figure["verdict"] for figure in document["figures"]}
    assert verdicts["step_s"] == "differs"
    assert verdicts["peak_bytes"] == "within_noise"
    assert "times as long" in done.out.splitlines()[0]


def test_profiles_are_compared_by_the_files_that_profile_printed(do: Any) -> None:
    draw = np.random.default_rng(5)
    for name in ("here.json", "there.json"):
        Path(name).write_text(profile_to_compare(draw).to_json())

    done: Done = do("compare", "here.json", "there.json")

    assert (done.code, done.err) == (0, "")
    assert "Nothing that was measured differs beyond noise." in done.out


def test_an_advice_without_its_answer_is_to_be_gone_on_with(do: Any) -> None:
    with store_with_study(Path("open.db")) as store:
        Journal(store, STUDY).begin(
            JournalEntry(profile="{}", budget_s=1.0, n_workers=2, spent_s=0.0)
        )
    with Store("lab.db") as store:
        put_study(store, replace(study_to_compare(np.random.default_rng(5)), study_id="b"))

    done: Done = do("compare", "open.db", "lab.db")

    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "error: study study of open.db has no answer yet; to go on: batchlab advise small\n"
    )
