"""Progress bars of trainings, as readings along the whole run."""

from __future__ import annotations

import re
from dataclasses import dataclass

from batchlab.script.reading import Reading, sure_number_of

Values = tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shown:
    """The last state of the bar: of which epoch counted from 0, how far, and its values."""

    epoch: int
    n: int
    total: int
    at_s: float
    values: Values


class EpochBar:
    """The states of one bar, in order.

    A bar goes on showing a value until there is a new one, so what has not changed is not read
    again before the epoch is over. At its end every value that the bar shows counts for the end of
    that epoch: a validation comes after the last batch, and changes the bar once more.
    """

    def __init__(self, shape: str) -> None:
        """Nothing was shown yet.

        Args:
            shape: the name of the row that reads the bar.
        """
        self._shape = shape
        self._shown: _Shown | None = None

    def show(self, *, epoch: int, n: int, total: int, at_s: float, values: Values) -> list[Reading]:
        """The readings that this state completes.

        Args:
            epoch: which one, counted from 0.
            n: steps done in it.
            total: steps that it has.
            at_s: when it was drawn.
            values: what it shows.
        """
        before = self._shown
        if before is not None and before.epoch == epoch and n < before.n:
            return []  # cleared for the next epoch, whose number it does not have yet
        # At the start of an epoch the bar shows what the one before ended with, or, of the first,
        # what a trial run of the validation gave.
        carried = values if n == 0 and epoch > 0 else ()
        values = values if n > 0 else ()
        known = _merged(() if before is None else before.values, carried)
        new = tuple(pair for pair in values if pair not in known)
        ended = [] if before is None or before.epoch == epoch else self._ended(before, known)
        self._shown = _Shown(
            epoch=epoch, n=n, total=total, at_s=at_s, values=_merged(known, values)
        )
        if n < total:
            return [*ended, self._reading(self._shown, new)]
        # It may be drawn again, with the values of a validation: they wait, the place does not.
        is_first = before is None or (before.epoch, before.n) != (epoch, n)
        return [*ended, self._reading(self._shown, ())] if is_first else ended

    def finish(self) -> list[Reading]:
        """The reading of an epoch that ended with the run."""
        shown, self._shown = self._shown, None
        return [] if shown is None else self._ended(shown, shown.values)

    def _ended(self, shown: _Shown, values: Values) -> list[Reading]:
        # Of an epoch that did not end the values were read when they changed.
        return [self._reading(shown, values)] if shown.n >= shown.total else []

    def _reading(self, shown: _Shown, values: Values) -> Reading:
        return Reading(
            at_s=shown.at_s,
            shape=self._shape,
            step=shown.epoch * shown.total + shown.n,
            epoch=shown.epoch + shown.n / shown.total,
            epoch_length=shown.total,
            values=values,
        )


def _merged(before: Values, after: Values) -> Values:
    return tuple({**dict(before), **dict(after)}.items())


class PassesBar:
    """The states of one bar over epochs, in order.

    Values that are set in the body of its loop are shown before the bar moves on: the first ones
    while it still stands where it began. Then they belong to the pass that ends with its next move.
    Where the bar is moved first, they belong to where it stands.
    """

    def __init__(self, shape: str) -> None:
        """Nothing was shown yet.

        Args:
            shape: the name of the row that reads the bar.
        """
        self._shape = shape
        self._began: int | None = None
        self._moves_first: bool | None = None
        self._n = 0
        self._at_s = 0.0
        self._values: Values = ()
        self._told: Values = ()

    def show(self, *, n: int, at_s: float, values: Values) -> list[Reading]:
        """The readings that this state completes.

        Args:
            n: passes done.
            at_s: when it was drawn.
            values: what it shows.
        """
        is_first = self._began is None
        if self._began is None:
            self._began = self._n = n
        if values and self._moves_first is None:
            self._moves_first = is_first or n != self._began
        has_moved = n != self._n
        ended = self.finish() if has_moved else []
        if has_moved:
            self._told = ()
        told = values if has_moved else ()
        if self._moves_first:
            # It still shows the values of the pass before, until it is drawn with new ones.
            told = tuple(pair for pair in values if pair not in self._values)
        self._n, self._at_s, self._values = n, at_s, values
        self._told += told
        return [*ended, self._reading(told)]

    def finish(self) -> list[Reading]:
        """What did not change in the last pass, and so counts for it too."""
        same = tuple(pair for pair in self._values if pair not in self._told)
        return [self._reading(same)] if self._moves_first and same else []

    def _reading(self, values: Values) -> Reading:
        return Reading(at_s=self._at_s, shape=self._shape, epoch=float(self._n), values=values)


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
