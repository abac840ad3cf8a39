"""EpochBar: a bar that is drawn anew in each epoch, as readings along the whole training."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.launching.reading import Reading

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
