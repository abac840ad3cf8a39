"""The stored form of an advice: a version, and JSON that a later version reads too.

The journal and the trials hold the facts; an advice is drawn from them. So where the stored form
is of another version, or does not read, the answer is asked anew from its trials.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from batchlab.advice.advice import Advice
from batchlab.commands.older_advice import from_version_1, from_version_2
from batchlab.store.column import JsonColumn, UnreadableColumn
from batchlab.store.store import Store

ADVICE_VERSION: Final = 3
"""Rises where a field changes its name or its meaning, with a row in `_READ` or else older answers
are asked anew. Fields that are added with a default leave it: both versions read both."""

_READ: Final[Mapping[int, Callable[[str], str]]] = {
    ADVICE_VERSION: str,
    2: from_version_2,
    1: from_version_1,
}
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
    text = _ADVICE.encoded(advice, f"the advice of study {study_id}")
    store.put_advice(study_id, text, version=ADVICE_VERSION)


def stored_advice(store: Store, study_id: str) -> Advice | None:
    """The answer of a study; None: there is none, or none that this version reads."""
    for version, as_ours in _READ.items():
        text = store.advice(study_id, version=version)
        if text is None:
            continue
        with suppress(UnreadableColumn):
            return _ADVICE.decoded(as_ours(text), f"the advice of study {study_id}")
    return None
