"""Settings: the values that a user gave to a workload's keywords, checked and typed."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from typing import Any, TypeVar

from batchlab.errors import UsageError, WorkloadError
from batchlab.records.trial import Setting

Choice = TypeVar("Choice")


def chosen(value: str, choices: Mapping[str, Choice], *, setting: str, workload: str) -> Choice:
    """What the choice called `value` stands for."""
    if not isinstance(value, str) or value not in choices:
        raise WorkloadError(
            f"{workload}: {setting}={value!r} is not a choice; give one of {', '.join(choices)}"
        )
    return choices[value]


def check_whole(
    value: int, *, setting: str, workload: str, low: int, high: int | None = None
) -> None:
    """Refuse what is not a whole number from `low` to `high` (None: no upper end)."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or value < low or (high is not None and value > high):
        allowed = f"of at least {low}" if high is None else f"from {low} to {high}"
        expected = f"a whole number {allowed}, such as {setting}={low}"
        raise WorkloadError(f"{workload}: {setting}={value!r}; expected {expected}")


def check_real(
    value: float, *, setting: str, workload: str, low: float, below: float = math.inf
) -> None:
    """Refuse what is not a finite number x with low <= x < below."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # NaN compares false with everything, so it fails here too.
    if not (is_number and low <= value < below):
        allowed = f"of at least {low}" + ("" if below == math.inf else f" and below {below}")
        expected = f"a finite number {allowed}, such as {setting}={low}"
        raise WorkloadError(f"{workload}: {setting}={value!r}; expected {expected}")


# Beyond this, JSON numbers are not exact, and a trial's identity is its JSON (RFC 8785).
_LARGEST_WHOLE = 2**53 - 1
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def as_type_of(default: Setting, value: str | Setting, name: str) -> Setting:
    """`value` as a setting of the type of `default` (None: of any)."""
    given: Any = value
    if hasattr(given, "item"):  # one of NumPy's numbers
        with contextlib.suppress(ValueError, RuntimeError):  # several numbers are none
            given = given.item()
    found = _read(default, given) if isinstance(given, str) else _converted(default, given)
    if found is _UNREADABLE or not _is_exact(found):
        raise UsageError(f"setting {name}={value}: expected {_expected(default, found)}")
    assert found is None or isinstance(found, (str, int, float))
    return found


_UNREADABLE = object()


def _read(default: Setting, text: str) -> object:
    if isinstance(default, str):
        return text
    if isinstance(default, bool):
        return _WORDS.get(text.lower(), _UNREADABLE)
    kinds = (int, float) if default is None else (type(default),)
    for kind in kinds:
        try:
            return kind(text)
        except ValueError:
            continue
    return text if default is None else _UNREADABLE


def _converted(default: Setting, value: object) -> object:
    if isinstance(default, float) and type(value) is int:
        return float(value)  # as the text "0" would be, so that both are the same trial
    if default is None:
        return value if value is None or isinstance(value, (int, float)) else _UNREADABLE
    return value if type(value) is type(default) else _UNREADABLE


def _is_exact(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or abs(value) <= _LARGEST_WHOLE


def _expected(default: Setting, found: object) -> str:
    """What a setting with that default takes; the bound is told to who went beyond it."""
    whole = "a whole number"
    if isinstance(found, int) and not isinstance(found, bool):
        whole += " of at most 2^53 - 1"
    if default is None:
        return f"a text, a finite number or {whole}"
    if isinstance(default, bool):
        return "true or false"
    if isinstance(default, str):
        return f"a text, such as {default!r}"
    kind = whole if isinstance(default, int) else "a finite number"
    return f"{kind}, such as {default}"
