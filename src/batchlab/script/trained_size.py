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
    r"(?:.*\.)?(?:(?:train|per[_-]device[_-]train|micro|mini)[_-]?)?(?:batch[_-]?size|bs)",
    re.IGNORECASE,
)
_OF_TRAINING = re.compile(r"(?:train(?:ing)?[ _/.\-]*)?loss", re.IGNORECASE)
_MOST_LENGTHS = 20
_EPOCHS_WITHOUT = 2
# Epochs are printed with two digits or more.
_ROUNDING = 0.01


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
        self._sizes = {trial.batch_size, trial.micro_batch_size}
        self._marks: dict[str, list[Mark]] = {}  # by shape: one where each epoch was first seen
        # Of loops within an epoch, by their length: the epoch where one was seen last, and whether
        # it tells a loss.
        self._lengths: dict[int, tuple[int, bool]] = {}
        self._has_fractions = False
        # Of a counter that starts again: its epoch, where it is, the widest gap between two lines.
        self._in_epoch: tuple[float | None, int, int] = (None, 0, 0)

    def contradiction(self, reading: Reading) -> str | None:
        """What shows that it trains with another batch size; None: nothing does."""
        for name, value in reading.values:
            if _SIZE.fullmatch(name) and value not in self._sizes:
                return f"it tells {name} = {value:g}"
        return next(filter(None, map(self._refuted, self._told_by(reading))), None)

    # ---- what is told: the fewest and the most steps of an epoch, or examples of a step

    def _told_by(self, reading: Reading) -> Iterator[tuple[str, float, float]]:
        self._note_length(reading)
        if reading.epoch_step is not None and reading.epoch is not None:
            yield from self._of_epoch(reading.epoch, reading.epoch_step)
        elif reading.step is not None:
            if reading.epoch is None and reading.epoch_length is not None:
                yield "steps", reading.epoch_length, reading.epoch_length
            here = Mark(reading.step, reading.samples, self._passes(reading))
            is_number = reading.epoch_number is not None
            for before in self._before(reading.shape, here, is_number=is_number):
                yield from _between(before, here)
        elif wrong := self._wrong_length:
            yield "steps", wrong, wrong

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

    def _before(self, shape: str, here: Mark, *, is_number: bool) -> list[Mark]:
        """Earlier places to measure from: some from near to far, and the first."""
        marks = self._marks.setdefault(shape, [])
        if marks and here.step < marks[-1].step:
            marks.clear()  # it counts anew
        if not marks and here.passes[0] <= 1:
            # The first number that is seen may be that of the second epoch, counted from 0.
            marks.append(Mark(0, 0, (-1.0 if is_number else 0.0, 0.0)))
        chosen = [marks[-back] for back in (1, 2, 4, 8, 16) if back <= len(marks)] + marks[:1]
        is_far = not marks or here.step >= 2 * marks[-1].step
        if is_far or math.floor(here.passes[0]) > math.floor(marks[-1].passes[0]):
            marks.append(here)
        return chosen

    def _of_epoch(self, epoch: float, step: int) -> Iterator[tuple[str, float, float]]:
        """By a counter that starts again: how far it came, and how far it may have gone unseen."""
        number, last, widest = self._in_epoch
        if epoch != number:
            if number is not None:
                yield "steps", last, last + widest + 1
            last = widest = 0
        self._in_epoch = epoch, max(step, last), max(widest, step - last)
        yield "steps", step, math.inf

    def _note_length(self, reading: Reading) -> None:
        """Of a counter such as [640/60000], which may count batches or examples."""
        length = reading.epoch_length
        if length is None or reading.step is not None or len(self._lengths) >= _MOST_LENGTHS:
            return
        has_loss = any(_OF_TRAINING.fullmatch(name) for name, _ in reading.values)
        _, had_loss = self._lengths.get(length, (0, False))
        self._lengths[length] = int(reading.epoch or 0), had_loss or has_loss

    @property
    def _wrong_length(self) -> int | None:
        """The length of a loop that tells a loss, where none is the training's as it should be.

        It may be that of a validation, beside which the training's is seen in the same epoch.
        """
        spread = (1 - _TOLERANCE, 1 + _TOLERANCE)
        fewest, most = self._trial.n_train * spread[0], self._most_examples * spread[1]
        right_in = -_EPOCHS_WITHOUT
        for length, (epoch, _) in self._lengths.items():
            if fewest <= length <= most or self._refuted(("steps", length, length)) is None:
                right_in = max(right_in, epoch)
        for length, (epoch, has_loss) in self._lengths.items():
            if has_loss and epoch - right_in >= _EPOCHS_WITHOUT:
                return length
        return None

    # ---- what would be told

    def _refuted(self, told: tuple[str, float, float]) -> str | None:
        """What was told, where no batch size that it was given can tell it."""
        what, fewest, most = told
        expected = [self._expected(what, size) for size in self._sizes]
        if any(
            fewest <= high * (1 + _TOLERANCE) and most >= low * (1 - _TOLERANCE)
            for low, high in expected
        ):
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


def _between(before: Mark, here: Mark) -> Iterator[tuple[str, float, float]]:
    steps = here.step - before.step
    if steps <= 0:
        return
    fewest, most = here.passes[0] - before.passes[1], here.passes[1] - before.passes[0]
    yield "steps", (steps - 1) / most, (steps + 1) / fewest if fewest > 0 else math.inf
    if here.samples is not None and before.samples is not None:
        samples = here.samples - before.samples
        yield "examples", samples / (steps + 1), samples / (steps - 1) if steps > 1 else math.inf


def _range(fewest: float, most: float) -> str:
    """Both numbers, or the one that they are."""
    low = math.floor(fewest)
    if most == math.inf:
        return f"at least {low}"
    high = math.ceil(most)
    return str(high) if low == high else f"{low} to {high}"
