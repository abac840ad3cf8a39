from __future__ import annotations

import inspect
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import pytest

import batchlab
from batchlab.app import advise as advising
from batchlab.app.advice_request import AdviceCall


def test_every_argument_of_advise_is_handed_on_under_its_own_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[Any, AdviceCall]] = []

    def answered(workload: Any, call: AdviceCall) -> SimpleNamespace:
        seen.append((workload, call))
        return SimpleNamespace(advice="the advice")

    monkeypatch.setattr(advising, "advise_with_evidence", answered)
    given = {name: f"the {name}" for name in inspect.signature(batchlab.advise).parameters}

    answer: Any = batchlab.advise(**given)  # type: ignore[arg-type]

    ((workload, call),) = seen
    held = {field.name: getattr(call, field.name) for field in fields(call)}
    assert held | {"workload": workload} == given
    assert answer == "the advice"
