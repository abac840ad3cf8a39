"""TrainedSize: does a script train with the batch size that it was given? By its own counters."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from batchlab.records.trial import Trial
from batchlab.script.reading import Reading

# A count of examples that is a little off is no other batch size.
_TOLERANCE = 0.1
# Not of evaluation, and not "batch" alone, which counts.
_SIZE = re.compile(
    r"(?!.*\b(?:val|eval|test|dev)[a-z]*\.)(?:.*\.)?"
    r"(?:(?:train|per[_-]device[_-]train|micro|mini)[ _-]?)?(?:batch[ _-]?size|bs)",
    re.IGNORECASE,
)
_OF_TRAINING = re.compile(r"(?:train(?:ing)?[ _/.\-]*)?loss", re.IGNORECASE)
_EPOCHS_WITHOUT = 2
# Epochs are printed with two digits or more.
_ROUNDING = 0.01


Told = tuple[str, float, float]
"""The fewest and the most `steps` of an epoch, or `examples` of a step, that were told."""


class Mark(NamedTuple):
    """A place that a run told: its steps, the examples seen, and between what its passes lie."""

    step: int
    samples: int | None
    passes: tuple[float, float]


class TrainedSize:
    """The counters of one run, held against the batch size that it was given.

    By two of them an epoch has so many steps, or a step so many examples. Each may be one off,
    for it is told before its step or after it, and the number of an epoch says only that the run
    is somewhere in it: so what they tell are bounds.
    """

    def __init__(self, trial: Trial, *, most_examples: int) -> None:
        """Nothing was told yet; there are `trial.n_train` to `most_examples` training examples."""
        self._trial = trial
        self._most_examples = most_examples
        # Where gradients are accumulated, a step that is told may be either.
        self._sizes = {trial.batch_size, trial.micro_batch_size, trial.process_batch_size}
        self._begun: dict[str, Mark] = {}  # by shape: where it began to count
        self._last_step: dict[str, int] = {}
        # The last epoch with a loop as long as that of the training has to be.
        self._right_in = -_EPOCHS_WITHOUT
        self._has_fractions = False
        # Whether it told one of these sizes last: the last batch of an epoch may be smaller.
        self._has_told_own = self._has_begun = False
        self._other: str | None = None  # that it told another size last

    def contradiction(self, reading: Reading) -> str | None:
        """What shows that it trains with another batch size; None: nothing does."""
        for name, value in reading.values:
            if _SIZE.fullmatch(name) and reading.split not in ("val", "test"):
                is_last = self._has_begun and self._has_told_own and value < min(self._sizes)
                self._has_told_own = value in self._sizes
                is_other = not (self._has_told_own or is_last)
                self._other = f"it tells {name} = {value:g}" if is_other else None
        # Before it trains it may tell a default, or sizes that did not fit: the last one counts.
        self._has_begun = self._has_begun or reading.has_position
        if self._has_begun and self._other is not None:
            return self._other
        return next(filter(None, map(self._refuted, self._told_by(reading))), None)

    # ---- what is told

    def _told_by(self, reading: Reading) -> Iterator[Told]:
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
        """Between what the passes done lie; from 0 to without end: nothing is known."""
        if reading.epoch_number is not None:
            return reading.epoch_number, reading.epoch_number + 1
        # The length of a bar that did not begin again yet may be that of the whole training.
        if reading.epoch is None or (reading.epoch_length and reading.shape == "tqdm"):
            return 0.0, math.inf
        self._has_fractions = self._has_fractions or reading.epoch % 1 != 0
        off = _ROUNDING if self._has_fractions else 1.0  # a whole one may be a number, too
        return max(0.0, reading.epoch - off), reading.epoch + off

    def _beginning(self, reading: Reading, here: Mark) -> Mark:
        """Return where the steps of this shape are counted from."""
        shape = reading.shape
        counts_anew = here.step < self._last_step.get(shape, 0)
        self._last_step[shape] = here.step
        if counts_anew or shape not in self._begun:
            self._begun[shape] = here
            if here.passes[0] <= 1:
                # The first number that is seen may be that of the second epoch, counted from 0.
                fewest = 0.0 if reading.epoch_number is None else -1.0
                self._begun[shape] = Mark(0, 0, (fewest, 0.0))
        return self._begun[shape]

    def _of_loop(self, reading: Reading, length: int) -> Iterator[Told]:
        """By a counter such as [640/60000], of batches or examples, where it tells a loss.

        It may be a validation's, beside which the training's is seen in the same epoch.
        """
        told, epoch = ("steps", length, length), int(reading.epoch or 0)
        is_of_examples = _meet(length, length, self._trial.n_train, self._most_examples)
        if is_of_examples or self._refuted(told) is None:
            self._right_in = epoch
        elif epoch - self._right_in >= _EPOCHS_WITHOUT:
            if any(_OF_TRAINING.fullmatch(name) for name, _ in reading.values):
                yield told

    # ---- what would be told

    def _refuted(self, told: Told) -> str | None:
        """What was told, where no batch size that it was given can tell it."""
        what, fewest, most = told
        if any(_meet(fewest, most, *self._expected(what, size)) for size in self._sizes):
            return None
        low, high = self._expected(what, self._trial.batch_size)
        of = "an epoch has" if what == "steps" else "a step has"
        return (
            f"{of} {_range(fewest, most)} {what}, and would have {_range(low, high)} with "
            f"{self._trial.batch_size} of {_range(self._trial.n_train, self._most_examples)} "
            f"examples"
        )

    def _expected(self, what: str, size: int) -> tuple[float, float]:
        """The fewest and the most; a script may leave out the smaller last batch of an epoch."""
        fewest, most = self._trial.n_train // size, -(-self._most_examples // size)
        if what == "steps":
            return fewest, most
        return min(size, self._trial.n_train / most), size


def _between(before: Mark, here: Mark) -> Iterator[Told]:
    steps = here.step - before.step
    if steps <= 0:
        return
    fewest, most = here.passes[0] - before.passes[1], here.passes[1] - before.passes[0]
    if most > 0:  # epochs that go back tell nothing
        yield "steps", (steps - 1) / most, (steps + 1) / fewest if fewest > 0 else math.inf
    if here.samples is not None and before.samples is not None:
        samples = here.samples - before.samples
        yield "examples", samples / (steps + 1), samples / (steps - 1) if steps > 1 else math.inf


def _meet(fewest: float, most: float, low: float, high: float) -> bool:
    """Whether what was told may be what is expected."""
    return fewest <= high * (1 + _TOLERANCE) and most >= low * (1 - _TOLERANCE)


def _range(fewest: float, most: float) -> str:
    """Both numbers, or the one that they are."""
    low = math.floor(fewest)
    if most == math.inf:
        return f"at least {low}"
    high = math.ceil(most)
    return str(high) if low == high else f"{low} to {high}"
