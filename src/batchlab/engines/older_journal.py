"""OlderJournal: a journal from before reasons had codes, with its texts as reasons."""

from __future__ import annotations

from typing import Any

import msgspec

_ONE = ("reason", "missing", "note", "did", "why")
_SEVERAL = ("caveats",)


def with_reasons(text: str) -> str:
    """The JSON of a journal whose advice may hold plain texts, each as a reason "as_written"."""
    try:
        entries = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("advice") is not None:
            entry["advice"] = _with_reasons(entry["advice"])
    return msgspec.json.encode(entries).decode()


def _with_reasons(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_reasons(part) for part in value]
    if not isinstance(value, dict):
        return value
    return {name: _field(name, part) for name, part in value.items()}


def _field(name: str, value: Any) -> Any:
    if name in _ONE and isinstance(value, str):
        return _as_written(value) if value else None
    if name in _SEVERAL and isinstance(value, list):
        return [_as_written(part) if isinstance(part, str) else part for part in value]
    return _with_reasons(value)


def _as_written(text: str) -> dict[str, Any]:
    return {"code": "as_written", "values": [["text", text]]}
