"""Dict in line: what a line of output holds in braces, as JSON or as Python prints a dict."""

from __future__ import annotations

import ast
import json
from typing import Any

from batchlab.launching.plain_number import count_of, sure_number_of

_LONGEST_LITERAL = 4000
_DEEPEST_LITERAL = 50


def dict_in(line: str) -> dict[str, Any] | None:
    """The dict that ends a line, whatever a logger has put before it; None: there is none.

    Args:
        line: it ends with the last brace.
    """
    start = line.find("{")
    if start < 0 or not line.endswith("}"):
        return None
    text = line[start:]
    found = _literal(text) if text.startswith("{'") else _json(text)
    return found if isinstance(found, dict) else None


def number_in(value: object) -> int | float | None:
    """A number, as it is or as a text; None: it is none, or too large for a float."""
    if isinstance(value, str):
        count = count_of(value) if value.isdigit() else None
        return sure_number_of(value) if count is None else count
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isinstance(value, float) or abs(value) < 1e300 else None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _literal(text: str) -> Any:
    braces = text.count("{") + text.count("[") + text.count("(")
    if len(text) > _LONGEST_LITERAL or braces > _DEEPEST_LITERAL:
        return None
    try:
        # nan is a name in such a line, and names are no literals.
        return ast.literal_eval(text.replace(": nan", ": 'nan'").replace(": inf", ": 'inf'"))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
