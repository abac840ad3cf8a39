"""OlderAdvice: an answer of an older version in the form of now.

Version 1 is from before reasons had codes, version 2 from before the flat interval was a set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

_ONE = ("reason", "missing", "note", "did", "why")
_SEVERAL = ("caveats",)
_RENAMED = {"score": "cost"}


def from_version_1(text: str) -> str:
    """The JSON of an answer of version 1: its plain texts are reasons "as_written"."""
    return _changed(text, lambda advice: _with_flat_sets(_with_reasons(advice)))


def from_version_2(text: str) -> str:
    """The JSON of an answer of version 2: of its flat interval the batch sizes that were inside."""
    return _changed(text, _with_flat_sets)


def _changed(text: str, change: Callable[[Any], Any]) -> str:
    try:
        advice = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
    return msgspec.json.encode(change(advice)).decode()


def _with_flat_sets(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_flat_sets(part) for part in value]
    if not isinstance(value, dict):
        return value
    now = {name: _with_flat_sets(part) for name, part in value.items()}
    if "in_flat_interval" in now:
        now["in_flat_set"] = now.pop("in_flat_interval")
    if "flat_interval" in now:
        # Of another target's answer the ends alone are known.
        ends = now.pop("flat_interval") or []
        inside = {c["batch_size"] for c in now.get("candidates", ()) if c["in_flat_set"]}
        now["flat_set"] = sorted(inside or set(ends)) if ends else []
    return now


def _with_reasons(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_reasons(part) for part in value]
    if not isinstance(value, dict):
        return value
    return {_RENAMED.get(name, name): _field(name, part) for name, part in value.items()}


def _field(name: str, value: Any) -> Any:
    if name in _ONE and isinstance(value, str):
        return _as_written(value) if value else None
    if name in _SEVERAL and isinstance(value, list):
        return [_as_written(part) if isinstance(part, str) else part for part in value]
    return _with_reasons(value)


def _as_written(text: str) -> dict[str, Any]:
    return {"code": "as_written", "values": [["text", text]]}
