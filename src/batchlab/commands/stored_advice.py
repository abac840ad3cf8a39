"""The stored form of an advice: its JSON.

The journal and the trials hold the facts; an advice is drawn from them. So where the stored form
does not read, the answer is asked anew from its trials.
"""

from __future__ import annotations

from typing import Final

from batchlab.advice.advice import Advice
from batchlab.store.column import JsonColumn, UnreadableColumn
from batchlab.store.store import Store

_ADVICE: Final = JsonColumn[Advice](Advice)


def put_advice(store: Store, study_id: str, advice: Advice) -> None:
    """Store the answer of a study.

    Args:
        store: where the study is.
        study_id: its identity.
        advice: the answer.

    Raises:
        StoreError: there is no such study.
    """
    store.put_advice(study_id, _ADVICE.encoded(advice, f"the advice of study {study_id}"))


def stored_advice(store: Store, study_id: str) -> Advice | None:
    """The answer of a study; None: there is none, or none that reads."""
    text = store.advice(study_id)
    if text is None:
        return None
    try:
        return _ADVICE.decoded(text, f"the advice of study {study_id}")
    except UnreadableColumn:
        return None
