"""OlderAdvice: an answer of version 1, from before reasons had codes, in the form of now."""

from __future__ import annotations

from typing import Any

import msgspec

_ONE = ("reason", "missing", "note", "did", "why")
_SEVERAL = ("caveats",)
_RENAMED = {"score": "cost"}


def as_written_now(text: str) -> str:
    """The JSON of an answer of version 1 as version 2: its plain texts are reasons "as_written"."""
    try:
        advice = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
    return msgspec.json.encode(_with_reasons(advice)).decode()


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
