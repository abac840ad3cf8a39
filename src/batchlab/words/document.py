"""Document: records as `--json` prints them, each reason as a text, a code and values.

A field `reason` that holds a reason becomes `reason` with its text, `reason_code` and
`reason_values`. A field of several, such as `caveats`, becomes their texts and `caveats_coded`.
A record shows all fields whose names do not begin with an underscore, or else the fields and
properties that its class lists in `document`. A field listed in `by_name` holds pairs of a name
and a value, as tuples or records, and is shown as one object.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, is_dataclass
from functools import lru_cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from batchlab.records.estimate import Reason, Value
from batchlab.words.reasons import has_words, reason_text

SCHEMA = 1
"""Version of the documents; it rises when a field changes its meaning or is removed."""

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NULL = {"type": "null"}
Held = Literal["a reason", "reasons", "named", "else"]
_CODED = {
    "title": "Reason",
    "description": "A reason as its code, with the values that its text names.",
    "type": "object",
    "properties": {"code": {"type": "string"}, "values": {"type": "object"}},
    "required": ["code", "values"],
}


def document_text(document: object) -> str:
    """Write records as one JSON document; a number that is not finite is null."""
    return json_text(plain(document))


def schema_text(kind: type) -> str:
    """Return the JSON Schema of what `document_text` writes for a kind of record."""
    schema = {"$schema": _DIALECT} | msgspec.json.schema(_as_shown(kind))
    for described in schema["$defs"].values():
        if "properties" in described:
            described["properties"] = dict(_described(described["properties"]))
    if "Reason" in schema["$defs"]:
        schema["$defs"]["Reason"] = _CODED
    return json_text(schema) + "\n"


def plain(value: object) -> Any:
    """Return plain values for JSON: tuples as lists, records as objects, reasons as text."""
    if isinstance(value, msgspec.Struct) or (is_dataclass(value) and not isinstance(value, type)):
        return dict(_fields(value))
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return msgspec.to_builtins(value, enc_hook=plain_float)


def coded(reason: Reason) -> dict[str, Any]:
    """Return a reason without its text: its code, and its values by name."""
    return {
        "code": reason.code,
        "values": {name: _coded_value(value) for name, value in reason.values},
    }


def reason_of(text: str | None, code: str | None, values: dict[str, Any] | None) -> Reason | None:
    """Return the reason that a document holds; only its text if this batchlab lacks its words."""
    if code is not None:
        try:
            reason = _decoded({"code": code, "values": values or {}})
        except TypeError:
            return Reason.as_written(text or code)
        if isinstance(reason, Reason) and has_words(reason):
            return reason
    return None if text is None else Reason.as_written(text)


def _decoded(value: Any) -> Any:
    """Invert `coded`; raise a TypeError for anything else."""
    if isinstance(value, list):
        return tuple(_decoded(part) for part in value)
    if not isinstance(value, dict):
        return value
    code, values = value.get("code"), value.get("values")
    if not isinstance(code, str) or not isinstance(values, dict):
        raise TypeError(f"this is no reason: {value!r}")
    return Reason.with_values(code, {name: _decoded(part) for name, part in values.items()})


def _coded_value(value: Value) -> Any:
    if isinstance(value, tuple):
        return [_coded_value(part) for part in value]
    return coded(value) if isinstance(value, Reason) else value


def _fields(record: Any) -> Iterator[tuple[str, Any]]:
    for name, holds in _kinds(record.__class__):
        value = getattr(record, name)
        if holds == "a reason":
            known = None if value is None else coded(value)
            yield name, None if value is None else reason_text(value)
            yield f"{name}_code", known and known["code"]
            yield f"{name}_values", known and known["values"]
        elif holds == "named":
            pairs = (part if isinstance(part, tuple) else astuple(part) for part in value)
            yield name, dict(map(plain, pairs))
        elif holds == "reasons":
            yield name, [reason_text(part) for part in value]
            yield f"{name}_coded", [coded(part) for part in value]
        else:
            yield name, plain(value)


@lru_cache
def _kinds(kind: type) -> tuple[tuple[str, Held], ...]:
    """Return the fields of a kind of record, and which hold reasons, or values by name."""
    named = getattr(kind, "by_name", ())
    return tuple(
        (name, "named" if name in named else _held(hint)) for name, hint in _hints(kind).items()
    )


def _hints(kind: type) -> dict[str, Any]:
    """Return the names of what a record shows, with their types."""
    hints = get_type_hints(kind)
    hints |= {name: _by_name(hints[name]) for name in getattr(kind, "by_name", ())}
    names = getattr(kind, "document", [name for name in hints if name[0] != "_"])
    for name in names:
        if name not in hints:  # a property, cached or not
            shown = getattr(kind, name)
            hints[name] = get_type_hints(getattr(shown, "func", None) or shown.fget)["return"]
    return {name: hints[name] for name in names}


def _as_shown(hint: Any, *, within: tuple[type, ...] = ()) -> Any:
    """Return a type for the schema, in which each record has only the fields that it shows.

    `within` holds the records that it is a field of, as one may hold another of its kind.
    """
    parts = get_args(hint)
    if parts:
        shown = tuple(_as_shown(part, within=within) for part in parts)
        if shown == parts:
            return hint
        origin = get_origin(hint)
        return Union[shown] if origin in (Union, UnionType) else origin[shown]  # noqa: UP007
    if hint is Reason or not isinstance(hint, type) or hint in within:
        return hint
    if not (issubclass(hint, msgspec.Struct) or is_dataclass(hint)):
        return hint
    hints = _hints(hint)
    within = (*within, hint)
    fields = [(name, _as_shown(part, within=within)) for name, part in hints.items()]
    if fields == list(get_type_hints(hint).items()):
        return hint
    doc = str(hint.__doc__).partition("\n\n    Attributes:")[0]
    return msgspec.defstruct(hint.__name__, fields, namespace={"__doc__": doc}, kw_only=True)


def _held(hint: Any) -> Held:
    if hint is Reason or (Reason in get_args(hint) and get_origin(hint) is not tuple):
        return "a reason"
    return "reasons" if Reason in get_args(hint) else "else"


def _by_name(hint: Any) -> Any:
    """Return the type of the object that shows several pairs, from the type of the pairs."""
    pair = get_args(hint)[0]
    *_, value = get_type_hints(pair).values() if is_dataclass(pair) else get_args(pair)
    return dict[str, value]  # type: ignore[valid-type]


def _described(properties: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the schema of each field, those of reasons as `_fields` writes them."""
    one = {"$ref": "#/$defs/Reason"}
    for name, described in properties.items():
        if described == one or one in described.get("anyOf", ()):
            text = {"type": "string"}
            yield name, text if described == one else {"anyOf": [text, _NULL]}
            yield f"{name}_code", {"anyOf": [text, _NULL]}
            yield f"{name}_values", {"anyOf": [{"type": "object"}, _NULL]}
        elif described.get("items") == one:
            yield name, {"type": "array", "items": {"type": "string"}}
            yield f"{name}_coded", {"type": "array", "items": one}
        else:
            yield name, described


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
