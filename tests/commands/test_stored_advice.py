from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.reference.made_up_advice import KINDS, made_up_advice, one_sided_advice
from tests.reference.made_up_profile import made_up_profile
from tests.reference.made_up_study import STUDY, store_with_study

from batchlab.advice.advice import Advice
from batchlab.commands.advised import advice_of
from batchlab.commands.stored_advice import ADVICE_VERSION, put_advice, stored_advice
from batchlab.engines.journal import Journal
from batchlab.errors import StoreError
from batchlab.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with_study(tmp_path / "lab.db")


def stored_text(store: Store) -> str:
    text = store.advice("study", version=ADVICE_VERSION)
    assert text is not None
    return text


@pytest.mark.parametrize("advice", [made_up_advice(), one_sided_advice()])
def test_an_advice_is_kept_to_the_last_bit(store: Store, advice: Advice) -> None:
    put_advice(store, "study", advice)

    assert stored_advice(store, "study") == advice


def test_a_study_without_an_answer_has_none(store: Store) -> None:
    assert stored_advice(store, "study") is None


def test_an_answer_with_fields_of_a_later_version_is_read(store: Store) -> None:
    put_advice(store, "study", made_up_advice())
    later = json.loads(stored_text(store))
    later["certainty"] = 0.99
    later["laws"]["new_law"] = {"estimate": 1.0}

    store.put_advice("study", json.dumps(later), version=ADVICE_VERSION)

    assert stored_advice(store, "study") == made_up_advice()


@pytest.mark.parametrize("text", ['{"verdict": 3}', "[", '{"reason": {"code": "other_form"}}'])
def test_an_answer_that_does_not_read_is_none_and_never_damage(store: Store, text: str) -> None:
    Journal(store, STUDY).begin(profile=made_up_profile().to_json(), budget_s=9.0, spent_s=1.0)
    store.put_advice("study", text, version=ADVICE_VERSION)

    assert stored_advice(store, "study") is None
    assert advice_of(store, store.study()) is None


def test_answers_of_other_versions_stay_beside_ours(store: Store) -> None:
    store.put_advice("study", "an older form", version=ADVICE_VERSION - 1)
    store.put_advice("study", "a newer form", version=ADVICE_VERSION + 1)

    assert stored_advice(store, "study") is None
    put_advice(store, "study", made_up_advice())

    assert stored_advice(store, "study") == made_up_advice()
    with closing(sqlite3.connect(store.path)) as connection:
        found = connection.execute("SELECT payload FROM advices ORDER BY version").fetchall()
    assert [text for (text,) in found][::2] == ["an older form", "a newer form"]


def test_an_advice_of_no_study_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="no study 'other'"):
        put_advice(store, "other", made_up_advice())


def as_texts(value: Any) -> Any:
    """What was stored before reasons had codes: the text alone, and "" where there was no note."""
    if isinstance(value, list):
        return [as_texts(part) for part in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"code", "values"}:
        return value["values"][0][1]
    return {
        name: "" if name == "note" and part is None else as_texts(part)
        for name, part in value.items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_an_advice_from_before_codes_is_read_with_its_texts_as_written(
    store: Store, kind: str
) -> None:
    advice = KINDS[kind]()  # whose reasons are all "as_written"
    put_advice(store, "study", advice)
    stored = stored_text(store)
    older = json.dumps(as_texts(json.loads(stored))).replace('"cost"', '"score"')
    assert "as_written" in stored
    assert "as_written" not in older
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute("DELETE FROM advices")

    store.put_advice("study", older, version=1)

    assert stored_advice(store, "study") == advice


def as_version_2(text: str) -> str:
    """The ends of the flat set alone, under the names of then."""
    advice = json.loads(text)
    for answer in (advice, *advice["other_targets"]):
        inside = answer.pop("flat_set")
        answer["flat_interval"] = [inside[0], inside[-1]] if inside else None
    for candidate in advice["candidates"]:
        candidate["in_flat_interval"] = candidate.pop("in_flat_set")
    return json.dumps(advice)


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_whose_flat_set_was_an_interval_is_read(store: Store, kind: str) -> None:
    advice = KINDS[kind]()
    put_advice(store, "study", advice)
    before = as_version_2(stored_text(store))
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute("DELETE FROM advices")

    store.put_advice("study", before, version=2)

    read = stored_advice(store, "study")
    assert read is not None
    assert read.flat_set == advice.flat_set
    assert replace(read, other_targets=()) == replace(advice, other_targets=())
