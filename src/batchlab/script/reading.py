"""Reading: how far a training said it was, and what it said it measured, line by line."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Protocol

from batchlab.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """One line of progress. `ProgressPoints` turns its counters into samples.

    Attributes:
        at_s: when it was printed, by the system's monotonic clock (`time.monotonic`), in seconds.
        shape: the row of `batchlab.script.shapes` that recognized it, or `pattern`.
        step: steps since the training began, updates or batches as `Shape.counts` says.
        epoch: passes over the training data done so far; it may be a fraction.
        epoch_step: steps since those passes, where the training counts from nothing in each epoch
            and says not how many steps an epoch has.
        samples: training examples seen so far.
        epoch_length: what the counter within an epoch runs to, in batches or examples; of a bar
            that did not begin again yet, what it runs to.
        values: what was measured, as (name, value) with the names as printed; not always finite.
        unsure: names of values that were printed as 2,531, which may be 2531 (the value) or 2.531.
        complaint: why this shape's progress can't be followed from here on, for its user.
        not_understood: what was given to `batchlab.log` and is no number, as `name=value`.

    Each counter is None where it was not printed.
    """

    at_s: float
    shape: str
    step: int | None = None
    epoch: float | None = None
    epoch_step: int | None = None
    samples: int | None = None
    epoch_length: int | None = None
    values: tuple[tuple[str, float], ...] = ()
    unsure: tuple[str, ...] = ()
    complaint: str | None = None
    not_understood: tuple[str, ...] = ()

    @property
    def has_position(self) -> bool:
        """Whether it says how far the training is."""
        return self.step is not None or self.epoch is not None or self.samples is not None


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


# Singular alone: "steps: 1000" is how many there will be, not how many were done.
# Of two in one object the first counts: fairseq prints num_updates beside an update of its epoch.
STEPS = ("step", "global_step", "iteration", "iter", "it", "num_updates", "update", "_step")
EPOCHS = ("epoch",)
SAMPLES = ("samples", "examples", "samples_seen", "examples_seen")
# Words that may stand before a counter in a line of plain text, as in "Train Epoch: 3".
_BEFORE = ("train", "training", "global", "at", "current", "end of", "after")
# In plain text alone; a batch is counted within its epoch.
_WORDS_FOR_STEPS = ("iters", "batch", "mini-batch", "minibatch")


@lru_cache(maxsize=1000)
def spoken_kind(name: str) -> str | None:
    """What a name in plain text counts: "step", "epoch", "samples" or None, nothing."""
    plain = name.lower().strip()
    for before in _BEFORE:
        plain = plain.removeprefix(before + " ")
    plain = plain.replace(" ", "_")
    if plain in STEPS or plain in _WORDS_FOR_STEPS:
        return "step"
    if plain in EPOCHS:
        return "epoch"
    return "samples" if plain in SAMPLES else None


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


_LONGEST_LITERAL = 4000
_DEEPEST_LITERAL = 50


def dict_in(line: str) -> dict[str, Any] | None:
    """The dict that ends a line, whatever a logger has put before it; None: there is none.

    Args:
        line: it ends with the last brace.
    """
    start = line.find("{")
    if start < 0 or not line.endswith("}"):
        return None
    text = line[start:]
    found = _literal(text) if text.startswith("{'") else _json(text)
    return found if isinstance(found, dict) else None


def number_in(value: object) -> int | float | None:
    """A number, as it is or as a text; None: it is none, or too large for a float."""
    if isinstance(value, str):
        count = count_of(value) if value.isdigit() else None
        return sure_number_of(value) if count is None else count
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isinstance(value, float) or abs(value) < 1e300 else None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _literal(text: str) -> Any:
    braces = text.count("{") + text.count("[") + text.count("(")
    if len(text) > _LONGEST_LITERAL or braces > _DEEPEST_LITERAL:
        return None
    try:
        # nan is a name in such a line, and names are no literals.
        return ast.literal_eval(text.replace(": nan", ": 'nan'").replace(": inf", ": 'inf'"))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


_COUNTERS = ("step", "epoch", "samples")
_LONGEST_LINE = 4000


class LinePattern:
    """Reads lines by a user's pattern: groups `step`, `epoch`, `samples`, all others values."""

    def __init__(self, pattern: str) -> None:
        """A reader at the beginning of a run.

        Raises:
            UsageError: no regular expression, or one without a named group for a value.
        """
        try:
            self._pattern = re.compile(pattern)
        except re.error as error:
            raise UsageError(
                f"--pattern {pattern!r} is no regular expression: {error}; a working one is "
                rf"'step (?P<step>\d+) val_loss (?P<val_loss>\S+)'"
            ) from None
        self._names = [name for name in self._pattern.groupindex if name not in _COUNTERS]
        if not self._names:
            raise UsageError(
                f"--pattern {pattern!r} has no named group for a value; name the metric's, as in "
                rf"'val_loss (?P<val_loss>\S+)'"
            )
        self._counters = Counters()
        self._style = NumberStyle()

    def read(self, line: str, at_s: float) -> Reading | None:
        """The reading of this line; None: the pattern is not in it, or no number where it looks."""
        match = self._pattern.search(line[:_LONGEST_LINE])
        if match is None:
            return None
        groups = {name: text for name, text in match.groupdict().items() if text is not None}
        told = {name: groups[name] for name in self._names if name in groups}
        for text in told.values():
            self._style.see(text)
        numbers = {name: self._style.number_of(text) for name, text in told.items()}
        values = tuple((name, value) for name, (value, _) in numbers.items() if value is not None)
        position = self._counters.position(
            step=count_of(groups.get("step", "")),
            epoch=_epoch(groups.get("epoch", "")),
            samples=count_of(groups.get("samples", "")),
        )
        reading = Reading(
            at_s=at_s,
            shape="pattern",
            step=position.step,
            epoch=position.epoch,
            epoch_step=position.epoch_step,
            samples=position.samples,
            values=values,
            unsure=tuple(name for name, (_, is_sure) in numbers.items() if not is_sure),
        )
        return reading if values or reading.has_position else None


def _epoch(text: str) -> float | None:
    return count_of(text) if text.isdigit() else number_of(text)


class LineReader(Protocol):
    """Reads the lines of one run, in order; it may remember what came before."""

    def read(self, line: str, at_s: float) -> list[Reading] | None:
        """The readings that this line completes; None: the line is of no such shape."""

    def finish(self) -> list[Reading]:
        """The readings that waited for a line to come after them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A row; each is a file in `batchlab.script.shapes`.

    Attributes:
        place: where it stands: a line belongs to the first shape that takes it.
        label: what people are told it is.
        needles: a line without any of these, in lower case, is never given to the reader.
        likely: what else a line has to hold, in lower case; None: the needle is enough.
        counts: what its `Reading.step` counts: optimizer updates, or batches (micro-batches where
            gradients are accumulated).
        reader: a new reader, for one run.
    """

    place: int
    label: str
    needles: tuple[bytes, ...]
    counts: Literal["updates", "batches"]
    reader: Callable[[], LineReader]
    likely: re.Pattern[str] | None = None
