"""Document: converts records to the JSON of `--json`, and classes of records to JSON Schemas.

A record shows the fields and properties that its class lists in `document`, or else all fields
without a leading underscore. A `by_name` field has (name, value) pairs and is shown as one object.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, is_dataclass
from functools import lru_cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

from batchlab.records.estimate import Reason
from batchlab.words.reasons import reason_text

SCHEMA = 1
"""Version of the documents; to be increased when a field changes its meaning or is removed."""

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REASON = msgspec.defstruct(
    "Reason",
    [("text", str), ("code", str), ("values", dict[str, Any])],
    namespace={"__doc__": "A reason in words, and as its code with the values in the words."},
)


def document_text(document: object) -> str:
    """Return records as the text of one JSON document; a number that is not finite is null."""
    return json_text(plain(document))


def schema_text(kind: type) -> str:
    """Return the JSON Schema of the documents that `document_text` makes of a class of records."""
    schema = {"$schema": _DIALECT} | msgspec.json.schema(_as_shown(kind))
    return json_text(schema) + "\n"


def plain(value: object) -> Any:
    """Convert a value to plain data for JSON: tuples to lists, records and reasons to dicts."""
    if isinstance(value, Reason):
        values = {name: plain(item) for name, item in value.values}
        return {"text": reason_text(value), "code": value.code, "values": values}
    if isinstance(value, msgspec.Struct) or is_dataclass(value):
        return dict(_fields(value))
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return list(map(plain, value))
    return msgspec.to_builtins(value, enc_hook=plain_float)


def reason_of(document: Any) -> Any:
    """Convert what `plain` returned for a reason, or a value in a reason, back to the original.

    Raises:
        ValidationError: an object lacks the fields of a reason.
        TypeError: a value has a type that `Reason` does not accept.
    """
    if isinstance(document, list):
        return tuple(map(reason_of, document))
    if not isinstance(document, dict):
        return document
    read: Any = msgspec.convert(document, _REASON)
    return Reason.with_values(read.code, {name: reason_of(it) for name, it in read.values.items()})


def _fields(record: Any) -> Iterator[tuple[str, Any]]:
    kind = record.__class__
    for name in _hints(kind):
        value = getattr(record, name)
        if name in getattr(kind, "by_name", ()):
            pairs = [pair if isinstance(pair, tuple) else astuple(pair) for pair in value]
            yield name, dict(map(plain, pairs))
        else:
            yield name, plain(value)


@lru_cache
def _hints(kind: type) -> dict[str, Any]:
    """Return, by name, the types of the fields and properties that a class of records shows."""
    hints = get_type_hints(kind)
    shown = {}
    for name in getattr(kind, "document", [name for name in hints if name[0] != "_"]):
        if name in getattr(kind, "by_name", ()):
            shown[name] = _object_of(hints[name])
        elif name in hints:
            shown[name] = hints[name]
        else:
            value = getattr(kind, name)  # a property, cached or not
            shown[name] = get_type_hints(getattr(value, "func", None) or value.fget)["return"]
    return shown


def _object_of(hint: Any) -> Any:
    """Convert the type of a `by_name` field, a tuple of pairs, to the type of the shown dict."""
    pair = get_args(hint)[0]
    *_, value = get_args(pair) or get_type_hints(pair).values()
    return dict[str, value]  # type: ignore[valid-type]


@lru_cache
def _as_shown(hint: Any) -> Any:
    """Replace each record class in a type by a class with only the shown fields for the schema."""
    arguments = get_args(hint)
    if arguments:
        shown = tuple(map(_as_shown, arguments))
        if shown == arguments:
            return hint
        origin = get_origin(hint)
        if origin is UnionType:
            origin = Union
        return origin[shown]
    if hint is Reason:
        return _REASON
    if not (isinstance(hint, type) and (issubclass(hint, msgspec.Struct) or is_dataclass(hint))):
        return hint
    fields = [(name, _as_shown(of_field)) for name, of_field in _hints(hint).items()]
    if fields == list(get_type_hints(hint).items()):
        return hint
    doc = str(hint.__doc__)
    if list(_hints(hint)) != list(get_type_hints(hint)):  # "Attributes" lists hidden fields
        doc = doc.partition("\n\n    Attributes:")[0]
    return msgspec.defstruct(hint.__name__, fields, namespace={"__doc__": doc}, kw_only=True)


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
