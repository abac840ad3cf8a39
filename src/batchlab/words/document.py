"""Document: records as `--json` prints them, each reason as a text, a code and values.

A field `reason` that holds a reason becomes `reason` with its text, `reason_code` and
`reason_values`. A field of several reasons, such as `caveats`, becomes `caveats` with the texts
and `caveats_coded`.
A record shows the fields and properties that its class lists in `document`, or else all fields
without a leading underscore. A field in `by_name` holds (name, value) pairs, shown as one object.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, is_dataclass
from functools import lru_cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

from batchlab.records.estimate import Reason, Value
from batchlab.words.reasons import has_words, reason_text

SCHEMA = 1
"""Version of the documents; it rises when a field changes its meaning or is removed."""

_REASON = (Reason, Reason | None)  # types of a field that holds a reason, if any
_REASONS = tuple[Reason, ...]
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_CODED = msgspec.defstruct(
    "Reason",
    [("code", str), ("values", dict[str, Any])],
    namespace={"__doc__": "A reason as its code, with the values that its text names."},
)


def document_text(document: object) -> str:
    """Write records as one JSON document; a number that is not finite is null."""
    return json_text(plain(document))


def schema_text(kind: type) -> str:
    """Return the JSON Schema of what `document_text` writes for a kind of record."""
    schema = {"$schema": _DIALECT} | msgspec.json.schema(_as_shown(kind))
    return json_text(schema) + "\n"


def plain(value: object) -> Any:
    """Return plain values for JSON: tuples as lists, records as objects, reasons as text."""
    if isinstance(value, msgspec.Struct) or is_dataclass(value):
        return dict(_fields(value))
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return list(map(plain, value))
    return msgspec.to_builtins(value, enc_hook=plain_float)


def coded(value: Value) -> Any:
    """Return a reason, or a reason's value, for JSON: a reason as its code and values by name."""
    if isinstance(value, tuple):
        return list(map(coded, value))
    if isinstance(value, Reason):
        return {"code": value.code, "values": {name: coded(item) for name, item in value.values}}
    return value


def reason_of(text: str | None, code: str | None, values: dict[str, Any] | None) -> Reason | None:
    """Return a document's reason, as plain text if this version does not know its code."""
    if code is not None:
        try:
            reason = _decoded({"code": code, "values": values or {}})
        except TypeError:
            return Reason.as_written(text or code)
        if isinstance(reason, Reason) and has_words(reason):
            return reason
    if text is None:
        return None
    return Reason.as_written(text)


def _decoded(value: Any) -> Any:
    """Invert `coded`; raise a TypeError for anything else."""
    if isinstance(value, list):
        return tuple(map(_decoded, value))
    if not isinstance(value, dict):
        return value
    code, values = value.get("code"), value.get("values")
    if not isinstance(code, str) or not isinstance(values, dict):
        raise TypeError(f"this is no reason: {value!r}")
    return Reason.with_values(code, {name: _decoded(item) for name, item in values.items()})


def _fields(record: Any) -> Iterator[tuple[str, Any]]:
    kind = record.__class__
    for name, hint in _hints(kind).items():
        value = getattr(record, name)
        if name in getattr(kind, "by_name", ()):
            pairs = [pair if isinstance(pair, tuple) else astuple(pair) for pair in value]
            yield name, dict(map(plain, pairs))
        elif hint in _REASON and value is None:
            yield from dict.fromkeys((name, f"{name}_code", f"{name}_values")).items()
        elif hint in _REASON:
            yield name, reason_text(value)
            yield f"{name}_code", value.code
            yield f"{name}_values", coded(value)["values"]
        elif hint == _REASONS:
            yield name, list(map(reason_text, value))
            yield f"{name}_coded", coded(value)
        else:
            yield name, plain(value)


def _described(name: str, hint: Any) -> list[tuple[str, Any]]:
    """Return the names and types of what `_fields` yields for one field."""
    if hint in _REASON:
        text = str if hint is Reason else str | None
        code, values = str | None, dict[str, Any] | None
        return [(name, text), (f"{name}_code", code), (f"{name}_values", values)]
    if hint == _REASONS:
        return [(name, list[str]), (f"{name}_coded", list[_CODED])]  # type: ignore[valid-type]
    return [(name, _as_shown(hint))]


@lru_cache
def _hints(kind: type) -> dict[str, Any]:
    """Return the shown fields and properties of a record's class, with their types."""
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
    """Return the type of the object that shows several pairs, from the type of the pairs."""
    pair = get_args(hint)[0]
    *_, value = get_args(pair) or get_type_hints(pair).values()
    return dict[str, value]  # type: ignore[valid-type]


@lru_cache
def _as_shown(hint: Any) -> Any:
    """Return a type for the schema, in which each record has only the fields that it shows."""
    arguments = get_args(hint)
    if arguments:
        shown = tuple(map(_as_shown, arguments))
        if shown == arguments:
            return hint
        origin = get_origin(hint)
        if origin is UnionType:
            origin = Union
        return origin[shown]
    if not (isinstance(hint, type) and (issubclass(hint, msgspec.Struct) or is_dataclass(hint))):
        return hint
    fields: list[tuple[str, Any]] = []
    for name, of_field in _hints(hint).items():
        fields += _described(name, of_field)
    if fields == list(get_type_hints(hint).items()):
        return hint
    doc = str(hint.__doc__)
    if list(_hints(hint)) != list(get_type_hints(hint)):  # "Attributes" has hidden fields
        doc = doc.partition("\n\n    Attributes:")[0]
    return msgspec.defstruct(hint.__name__, fields, namespace={"__doc__": doc}, kw_only=True)


def json_text(document: object) -> str:
    """Write a document as indented JSON; a number that is not finite is null."""
    encoded = msgspec.json.encode(document, enc_hook=plain_float)
    return msgspec.json.format(encoded, indent=2).decode()


def plain_float(value: object) -> float:
    """Convert NumPy's float64 for msgspec, which does not recognize it as a float.

    Raises:
        TypeError: any other kind of value.
    """
    if isinstance(value, float):
        return float(value)
    raise TypeError(value)
