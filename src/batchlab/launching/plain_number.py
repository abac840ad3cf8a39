"""Plain number: a number as programs print it, read back."""

from __future__ import annotations

import re

# A comma that parts thousands: the whole number has it after every third digit from the end, and
# begins with no 0. Between digits elsewhere it is a decimal comma.
_THOUSANDS = r"[1-9]\d{0,2}(?:,\d{3})+(?!,?\d)"
# Atomic: what follows a number can't make it a shorter one ("0.41s" is no 0.4).
NUMBER = (
    rf"(?>[-+]?(?:{_THOUSANDS}(?:\.\d*)?"
    r"|(?:\d+(?:\.\d*|,\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
    r"|(?i:nan|inf(?:inity)?)\b))"
)
_IN_THOUSANDS = re.compile(rf"[-+]?{_THOUSANDS}(?:\.\d*)?")
_EITHER = re.compile(r"[-+]?[1-9]\d{0,2},\d{3}")


def number_of(text: str) -> float | None:
    """The number that a text is; None: it is none, or too large for one.

    A comma parts thousands where it can (`1,234`), and stands before a fraction elsewhere (`0,53`).
    """
    text = text.strip().rstrip(",")
    try:
        return float(text.replace(",", "") if _IN_THOUSANDS.fullmatch(text) else _pointed(text))
    except ValueError:
        return None


def sure_number_of(text: str) -> float | None:
    """The number that a text is; None: it is none, or the comma in it may be of either kind."""
    return None if _EITHER.fullmatch(text) else number_of(text)


def count_of(text: str) -> int | None:
    """The count that a text is: 0 or a whole number above it; None: it is none."""
    number = number_of(text)
    if number is None or not 0 <= number < 1e18 or number != int(number):
        return None
    return int(number)


class NumberStyle:
    """How the numbers of one run are written, by what was seen: with a point or a decimal comma.

    `2,531` may be either. A number that can be read in one way alone tells: `0,53`, or `0.53`.
    """

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self._has_points = self._has_commas = False

    def see(self, text: str) -> None:
        """Take in a number of the run."""
        if number_of(text) is None:
            return
        if "," not in text:
            self._has_points = self._has_points or "." in text
        elif not _EITHER.fullmatch(text):
            is_thousands = _IN_THOUSANDS.fullmatch(text) is not None
            self._has_points = self._has_points or is_thousands
            self._has_commas = self._has_commas or not is_thousands

    def number_of(self, text: str) -> tuple[float | None, bool]:
        """The number that a text is, as `number_of`, and whether that is sure."""
        if not _EITHER.fullmatch(text):
            return number_of(text), True
        is_comma = self._has_commas and not self._has_points
        number = float(_pointed(text)) if is_comma else number_of(text)
        return number, self._has_commas != self._has_points


def _pointed(text: str) -> str:
    return text.replace(",", ".", 1)
