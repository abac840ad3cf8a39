"""Plain number: a number as programs print it, read back."""

from __future__ import annotations

# Atomic: what follows a number can't make it a shorter one ("0.41s" is no 0.4).
NUMBER = (
    r"(?>[-+]?(?:\d{1,3}(?:,\d{3})+(?:\.\d*)?|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)"
    r"|[-+]?(?:nan|NaN|inf|Infinity)\b)"
)


def number_of(text: str) -> float | None:
    """The number that a text is; None: it is none, or too large for one."""
    try:
        number = float(text.replace(",", ""))
    except ValueError:
        return None
    return number


def count_of(text: str) -> int | None:
    """The count that a text is: 0 or a whole number above it; None: it is none."""
    number = number_of(text)
    if number is None or not 0 <= number < 1e18 or number != int(number):
        return None
    return int(number)
