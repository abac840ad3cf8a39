"""JSON documents: records as JSON text, and the schemas that describe them."""

from __future__ import annotations

from typing import Any

import msgspec

SCHEMA = 1
"""Version of the documents; it rises when a field changes its meaning or goes."""


def json_text(document: object) -> str:
    """A document as indented JSON; a number that is not finite is null."""
    encoded = msgspec.json.encode(document, enc_hook=plain_float)
    return msgspec.json.format(encoded, indent=2).decode()


def schema_of(kind: type) -> dict[str, Any]:
    """The JSON Schema of a kind of record."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return dialect | msgspec.json.schema(kind)


def plain_float(value: object) -> float:
    """Msgspec's hook for NumPy's float64, which is a float that msgspec does not see as one.

    Raises:
        TypeError: any other kind of value.
    """
    if isinstance(value, float):
        return float(value)
    raise TypeError(value)
