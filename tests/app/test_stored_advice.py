from __future__ import annotations

from pathlib import Path

import pytest
from tests.reference.made_up_advice import made_up_advice, one_sided_advice
from tests.reference.made_up_profile import made_up_profile
from tests.reference.made_up_study import STUDY, store_with_study

from batchlab.advice.advice import Advice
from batchlab.app.advice_session import advice_of, put_advice, stored_advice
from batchlab.errors import StoreError
from batchlab.runs.replay import Journal
from batchlab.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with_study(tmp_path / "lab.db")


@pytest.mark.parametrize("advice", [made_up_advice(), one_sided_advice()])
def test_an_advice_is_kept_to_the_last_bit(store: Store, advice: Advice) -> None:
    put_advice(store, "study", advice)

    assert stored_advice(store, "study") == advice


@pytest.mark.parametrize("text", ['{"verdict": 3}', "[", '{"reason": {"code": "other_form"}}'])
def test_an_answer_that_does_not_read_is_none_and_never_damage(store: Store, text: str) -> None:
    Journal(store, STUDY).begin(profile=made_up_profile().to_json(), budget_s=9.0, spent_s=1.0)
    store.put_advice("study", text)

    assert stored_advice(store, "study") is None
    assert advice_of(store, store.study()) is None


def test_an_advice_of_no_study_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="no study 'other'"):
        put_advice(store, "other", made_up_advice())
