"""ProgressBar: one state of a bar as tqdm draws it, and the bars of a run that train."""

from __future__ import annotations

import re
from dataclasses import dataclass

from batchlab.launching.plain_number import sure_number_of

_LONGEST_BAR = 1000
_BAR = re.compile(
    r"^(?:(?P<description>[^|]{0,200}?):?\s+)?(?P<percent>\d{1,3})%\|[^|]*\|\s*"
    r"(?P<n>\d+)/(?P<total>\d+)\s*\[(?P<rest>[^\]]*)\]?"
)
_ELSEWHERE = re.compile(
    r"valid|\bval|eval|test|predict|infer|sanity|sampl|generat|download|load|map|filter|token|"
    r"fetch|process|read|cach|extract|sav|convert|warm",
    re.IGNORECASE,
)
# A comma before a digit belongs to the number: tqdm parts its values by a comma and a blank.
_VALUE = re.compile(r"(?P<name>[^\s,=][^,=]*)=\s*(?P<value>[^,\s]+(?:,\d+)*)")


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgressBar:
    """What a bar shows.

    Attributes:
        description: the words before it, without their colon; empty: none.
        n: how much is done.
        total: of how much, at least 1.
        values: the numbers behind the rate, by name.
    """

    description: str
    n: int
    total: int
    values: tuple[tuple[str, float], ...]

    @property
    def may_train(self) -> bool:
        """Whether it may be the bar of the training: no words for anything else before it."""
        return not _ELSEWHERE.search(self.description)


def bar_of(line: str) -> ProgressBar | None:
    """The bar in a line; None: there is none, or one of bytes or without an end."""
    match = _BAR.match(line[:_LONGEST_BAR])
    if match is None or int(match["total"]) < 1:
        return None
    return ProgressBar(
        description=(match["description"] or "").strip(" :"),
        n=int(match["n"]),
        total=int(match["total"]),
        values=values_of(match["rest"]),
    )


def values_of(text: str) -> tuple[tuple[str, float], ...]:
    """The numbers of `loss=0.3, acc=0.9`, by name."""
    found = (
        (match["name"].strip(), sure_number_of(match["value"])) for match in _VALUE.finditer(text)
    )
    return tuple((name, number) for name, number in found if number is not None)
