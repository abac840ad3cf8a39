"""PassesBar: a bar around the epochs, which counts passes, as readings."""

from __future__ import annotations

from batchlab.launching.epoch_bar import Values
from batchlab.launching.reading import Reading


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
