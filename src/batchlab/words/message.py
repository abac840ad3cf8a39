"""Message: a text as it is written in the source, marked for whoever collects and translates it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class PluralMessage:
    """A text that depends on a count.

    Attributes:
        singular: the text for one.
        plural: the text for any other count, in English.
        by: the name of the value that is the count.
    """

    singular: str
    plural: str
    by: str


Message = str | PluralMessage


def N_(message: str) -> str:  # noqa: N802, RUF100 - the name that collectors of texts look for
    """Mark a text that is translated later, where it is shown."""
    return message


def NN_(singular: str, plural: str, *, by: str) -> PluralMessage:  # noqa: N802, RUF100
    """Mark a text whose form follows the count called `by`."""
    return PluralMessage(singular=singular, plural=plural, by=by)
