"""TrainedSize: the check, by its counters, that a script trains with its given batch size."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from batchlab.records.trial import Trial
from batchlab.script.reading import Reading

# A count of examples that is a little off does not mean another batch size.
_TOLERANCE = 0.1
# Sizes of evaluation don't match, and neither does a bare "batch", which is a counter.
_SIZE = re.compile(
    r"(?!.*\b(?:val|eval|test|dev)[a-z]*\.)(?:.*\.)?"
    r"(?:(?:train|per[_-]device[_-]train|micro|mini)[ _-]?)?(?:batch[ _-]?size|bs)",
    re.IGNORECASE,
)
_OF_TRAINING = re.compile(r"(?:train(?:ing)?[ _/.\-]*)?loss", re.IGNORECASE)
_EPOCHS_WITHOUT = 2
# Epochs are printed with two decimals or more.
_ROUNDING = 0.01
Span = tuple[int, int]
"""The least and the greatest possible number of training examples."""


def common_span(one: Span, other: Span) -> Span | None:
    """Return the intersection of two ranges of examples, or None if it is empty."""
    fewest, most = max(one[0], other[0]), min(one[1], other[1])
    return (fewest, most) if fewest <= most else None


Bounds = tuple[str, float, float]
"""Bounds, as reported, on the `steps` per epoch or the `examples` per step."""


class Mark(NamedTuple):
    """A place in a run, as printed: its steps, the examples seen, and bounds on its passes."""

    step: int
    samples: int | None
    passes: tuple[float, float]


class TrainedSize:
    """The counters of one run, compared with the batch size that it was given.

    Two of them give the steps of an epoch, or the examples of a step. Each may be one off, because
    it is printed before its step or after it, and the number of an epoch says only that the run is
    somewhere in it. So they give bounds.
    """

    def __init__(self, trial: Trial, *, most_examples: float, is_limit: bool = False) -> None:
        """Begin without readings, for `trial.n_train` to `most_examples` training examples.

        If there may be any number, only printed batch sizes are compared. If the batch size
        `is_limit`, such as a most number of tokens, or is that at the end of a ramp-up, batches may
        be smaller. So only larger ones contradict.
        """
        self._trial = trial
        self._is_limit = is_limit
        self._most_examples = most_examples
        # If gradients are accumulated, a step that is printed may be any of these.
        self._sizes = {trial.batch_size, trial.micro_batch_size, trial.process_batch_size}
        self._begun: dict[str, Mark] = {}  # by shape, the position at which its counter began
        self._last_step: dict[str, int] = {}
        # This is the last epoch with a loop as long as that of the training has to be.
        self._right_in = -_EPOCHS_WITHOUT
        self._off = 1.0  # from an epoch to the passes done, as a whole one may be a number
        # A smaller size may be that of an epoch's last batch, if one of these was printed before.
        self._has_printed_right = self._has_begun = False
        self._other: str | None = None  # says that the size printed last differs

    def contradiction(self, reading: Reading) -> str | None:
        """Return the evidence that the script trains with another batch size, or None."""
        for name, value in reading.values:
            if _SIZE.fullmatch(name) and reading.split not in ("val", "test"):
                is_last = self._has_begun and self._has_printed_right and value < min(self._sizes)
                is_below = self._is_limit and value <= self._trial.batch_size
                self._has_printed_right = is_below or value in self._sizes
                self._other = None
                if not (self._has_printed_right or is_last):
                    self._other = f"it tells {name} = {value:g}"
        # Before training it may print a default, or sizes that did not fit, so the last one counts.
        self._has_begun = self._has_begun or reading.has_position
        if self._has_begun and self._other is not None:
            return self._other
        if self._most_examples == math.inf:
            return None
        return next(filter(None, map(self._refuted, self._bounds_by(reading))), None)

    # ---- what was printed

    def _bounds_by(self, reading: Reading) -> Iterator[Bounds]:
        if reading.epoch_step is not None and reading.epoch is not None:
            yield "steps", reading.epoch_step, math.inf  # it may have gone on unseen
        elif reading.step is not None:
            if reading.epoch is None and reading.epoch_length is not None:
                yield "steps", reading.epoch_length, reading.epoch_length
            here = Mark(reading.step, reading.samples, self._passes(reading))
            yield from _between(self._beginning(reading, here), here)
        elif reading.epoch_length is not None:
            yield from self._of_loop(reading, reading.epoch_length)

    def _passes(self, reading: Reading) -> tuple[float, float]:
        """Return bounds on the passes done: 0 and infinity if nothing is known."""
        if reading.epoch_number is not None:
            return reading.epoch_number, reading.epoch_number + 1
        # The length of a bar that did not begin again yet may be that of the whole training.
        if reading.epoch is None or reading.epoch_length:
            return 0.0, math.inf
        if reading.epoch % 1 != 0:
            self._off = _ROUNDING
        return max(0.0, reading.epoch - self._off), reading.epoch + self._off

    def _beginning(self, reading: Reading, here: Mark) -> Mark:
        """Return where the steps of this shape are counted from."""
        shape = reading.shape
        counts_anew = here.step < self._last_step.get(shape, 0)
        self._last_step[shape] = here.step
        if counts_anew or shape not in self._begun:
            self._begun[shape] = here
            if here.passes[0] <= 1:
                # The first number that is seen may be that of the second epoch, counted from 0.
                n_hidden = int(reading.epoch_number is not None)
                self._begun[shape] = Mark(0, 0, (-n_hidden, 0))
        return self._begun[shape]

    def _of_loop(self, reading: Reading, length: int) -> Iterator[Bounds]:
        """Yield bounds by a counter such as [640/60000], of batches or examples, if it has a loss.

        It may be a validation's, next to which the training's is seen in the same epoch.
        """
        bounds, epoch = ("steps", length, length), int(reading.epoch or 0)
        is_of_examples = _meet(length, length, self._trial.n_train, self._most_examples)
        if is_of_examples or self._refuted(bounds) is None:
            self._right_in = epoch
        elif epoch - self._right_in >= _EPOCHS_WITHOUT:
            if any(_OF_TRAINING.fullmatch(name) for name, _ in reading.values):
                yield bounds

    # ---- what is expected

    def _refuted(self, bounds: Bounds) -> str | None:
        """Return the bounds in words if the given batch size cannot explain them, else None."""
        what, fewest, most = bounds
        if any(_meet(fewest, most, *self._expected(what, size)) for size in self._sizes):
            return None
        whole = {"steps": "an epoch", "examples": "a step"}[what]
        examples = _range(self._trial.n_train, self._most_examples)
        return (
            f"by its output {whole} has {_range(fewest, most)} {what}; with batch size "
            f"{self._trial.batch_size} and {examples} training examples it would have "
            f"{_range(*self._expected(what, self._trial.batch_size))}"
        )

    def _expected(self, what: str, size: int) -> tuple[float, float]:
        """Return both bounds; a script may leave out the smaller last batch of an epoch."""
        fewest, most = self._trial.n_train // size, -(-self._most_examples // size)
        smallest = min(size, self._trial.n_train / most)
        if self._is_limit:
            most, smallest = math.inf, 0
        return (fewest, most) if what == "steps" else (smallest, size)


def _between(before: Mark, here: Mark) -> Iterator[Bounds]:
    steps = here.step - before.step
    if steps <= 0:
        return
    fewest, most = here.passes[0] - before.passes[1], here.passes[1] - before.passes[0]
    if most > 0:  # epochs that go back say nothing
        yield "steps", (steps - 1) / most, _over(steps + 1, fewest)
    if here.samples is not None and before.samples is not None:
        samples = here.samples - before.samples
        yield "examples", samples / (steps + 1), _over(samples, steps - 1)


def _over(count: float, n: float) -> float:
    return count / n if n > 0 else math.inf


def _meet(fewest: float, most: float, low: float, high: float) -> bool:
    """Return whether the printed bounds are consistent with the expected bounds."""
    return fewest <= high * (1 + _TOLERANCE) and most >= low * (1 - _TOLERANCE)


def _range(fewest: float, most: float) -> str:
    low = math.floor(fewest)
    if most == math.inf:
        return f"at least {low}"
    high = math.ceil(most)
    return str(high) if low == high else f"{low} to {high}"
