"""Counters: the steps, epochs and samples that a training prints, as how far it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """How far a training is: the counters of a `Reading`."""

    step: int | None = None
    epoch: float | None = None
    epoch_step: int | None = None
    samples: int | None = None
    epoch_length: int | None = None


@dataclass(kw_only=True, slots=True)
class Counters:
    """What one run has counted so far.

    Epochs are numbered from 0 where the first number is 0, else from 1. A line with the number of
    an epoch and nothing finer stands for the end of that epoch. Where a fraction is printed, the
    number is that of the passes done. A step counter that does not rise while the epoch rises is
    one that starts again in each epoch. Where a total of steps rises by the same in every epoch,
    the lines stand at the ends of epochs.
    """

    _first_epoch: int | None = None
    _epoch: int | None = None
    _has_fractions: bool = False
    _last_step: int | None = None
    _last_step_epoch: int | None = None
    _starts_again: bool = False
    _inside_epoch: bool = False
    _steps_an_epoch: float | None = None
    _at_ends: bool = True

    def begin_epoch(self, number: int) -> None:
        """A line that only says which epoch begins."""
        self._number(number)
        self._inside_epoch = True

    def position(
        self,
        *,
        step: int | None = None,
        n_steps: int | None = None,
        epoch: float | None = None,
        samples: int | None = None,
        part: tuple[int, int] | None = None,
    ) -> Position:
        """How far a line with these counters says the training is.

        Args:
            step: as printed.
            n_steps: what the step runs to, as printed.
            epoch: as printed; an int is its number, a float the passes done.
            samples: examples seen so far.
            part: a counter within the epoch and what it runs to, in any unit.

        Returns:
            Without any counter: the end of the epoch, where the lines before were inside one, else
            nothing.
        """
        number = self._number(epoch)
        if samples is not None:
            return Position(samples=samples, step=step, epoch=self._passes(epoch))
        if part is not None and number is not None:
            self._inside_epoch = True
            return Position(epoch=number + part[0] / part[1], epoch_length=part[1])
        if step is not None:
            return self._stepped(step, n_steps, epoch)
        if epoch is not None:
            self._inside_epoch = False
            return Position(epoch=self._passes(epoch))
        if self._inside_epoch and self._epoch is not None:
            return Position(epoch=self._epoch + 1)
        return Position()

    def _number(self, epoch: float | None) -> int | None:
        """The epoch's number counted from 0; without one that of the last line."""
        if isinstance(epoch, float):
            self._has_fractions = self._has_fractions or not epoch.is_integer()
        elif epoch is not None:
            if self._first_epoch is None:
                self._first_epoch = min(epoch, 1)
            self._epoch = epoch - self._first_epoch
        return self._epoch

    def _passes(self, epoch: float | None) -> float | None:
        if epoch is None or isinstance(epoch, float) or self._has_fractions:
            return epoch
        assert self._epoch is not None
        return self._epoch + 1

    def _stepped(self, step: int, n_steps: int | None, epoch: float | None) -> Position:
        number = self._epoch
        if number is None or isinstance(epoch, float):
            return Position(step=step, epoch=epoch)
        self._starts_again = self._starts_again or self._falls(step, number)
        self._last_step, self._last_step_epoch = step, number
        self._inside_epoch = self._starts_again or step == n_steps
        if not self._starts_again:
            return Position(step=step, epoch=self._passes_at_end(step, number))
        if n_steps is None:
            return Position(epoch=number, epoch_step=step)
        return Position(step=number * n_steps + step, epoch_length=n_steps)

    def _passes_at_end(self, step: int, number: int) -> int | None:
        """Passes done, where two lines or more stood at the ends of their epochs; None: unknown."""
        each = step / (number + 1)
        is_first = self._steps_an_epoch is None
        self._at_ends = self._at_ends and (is_first or each == self._steps_an_epoch) and each >= 1
        self._steps_an_epoch = each
        return number + 1 if self._at_ends and not is_first and number > 0 else None

    def _falls(self, step: int, number: int) -> bool:
        """Whether the step does not rise while the epoch goes on; printed once, it is the same."""
        if self._last_step is None or self._last_step_epoch is None:
            return False
        return number > self._last_step_epoch and step <= self._last_step
