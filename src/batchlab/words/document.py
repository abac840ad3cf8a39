"""Document: converts records to the JSON of `--json`.

A record shows the fields and properties that its class lists in `document`, or else all fields
without a leading underscore. A field that the class lists in `by_name` has (name, value) pairs and
is shown as one object.
"""

from __future__ import annotations

from dataclasses import astuple, is_dataclass
from functools import lru_cache
from typing import Any, get_type_hints

import msgspec

from batchlab.records.estimate import Reason
from batchlab.words.reasons import reason_text

SCHEMA = 1
"""Version of the documents; to be increased when a field changes its meaning or is removed."""


def document_text(document: object) -> str:
    """Return records as the text of one JSON document; a number that is not finite is null."""
    return json_text(plain(document))


def plain(value: object) -> Any:
    """Convert a value to plain data for JSON: tuples to lists, records and reasons to dicts."""
    if isinstance(value, Reason):
        values = {name: plain(item) for name, item in value.values}
        return {"text": reason_text(value), "code": value.code, "values": values}
    if is_record(type(value)):
        return _shown(value)
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return list(map(plain, value))
    return msgspec.to_builtins(value, enc_hook=plain_float)


def reason_of(document: Any) -> Any:
    """Convert the plain data of a reason, or of a value in a reason, back to the original.

    Raises:
        TypeError: an object lacks the code or the values of a reason, or a value has a type that
            `Reason` does not accept.
    """
    if isinstance(document, list):
        return tuple(map(reason_of, document))
    if not isinstance(document, dict):
        return document
    code, values = document.get("code"), document.get("values")
    if not (isinstance(code, str) and isinstance(values, dict)):
        raise TypeError("a reason has a code and values")
    return Reason.of(code, **{name: reason_of(value) for name, value in values.items()})


def is_record(kind: Any) -> bool:
    """Return whether a type is a class of records."""
    return isinstance(kind, type) and (issubclass(kind, msgspec.Struct) or is_dataclass(kind))


def _shown(record: Any) -> dict[str, Any]:
    kind, shown = record.__class__, {}
    for name in shown_names(kind):
        value = getattr(record, name)
        if name in getattr(kind, "by_name", ()):
            pairs = [pair if isinstance(pair, tuple) else astuple(pair) for pair in value]
            shown[name] = dict(map(plain, pairs))
        else:
            shown[name] = plain(value)
    return shown


@lru_cache
def shown_names(kind: type) -> tuple[str, ...]:
    """Return the names of the fields and properties that the JSON of a record contains."""
    names = [name for name in get_type_hints(kind) if name[0] != "_"]
    return tuple(getattr(kind, "document", names))


def json_text(document: object) -> str:
    """Return plain data as indented JSON text; a number that is not finite is null."""
    encoded = msgspec.json.encode(document, enc_hook=plain_float)
    return msgspec.json.format(encoded, indent=2).decode()


def plain_float(value: object) -> float:
    """Convert NumPy's float64 for msgspec, which does not recognize it as a float.

    Raises:
        TypeError: the value is not a float.
    """
    if isinstance(value, float):
        return float(value)
    raise TypeError(value)
