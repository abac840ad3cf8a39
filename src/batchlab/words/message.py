"""Message: a text as a table holds it, before its values are written in it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PluralMessage:
    """A text that depends on a count.

    Attributes:
        singular: the text for one.
        plural: the text for any other count.
        by: the name of the value that is the count.
    """

    singular: str
    plural: str
    by: str


Message = str | PluralMessage
