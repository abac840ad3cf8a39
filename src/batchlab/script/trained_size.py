"""TrainedSize: checks by printed counters that a script trains with the batch size it is given."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from batchlab.records.trial import Trial
from batchlab.script.reading import Reading

# A printed number may lie outside its expected bounds by up to this fraction.
_TOLERANCE = 0.1
# Names of a printed training batch size. Evaluation sizes and the counter "batch" do not match.
_SIZE = re.compile(
    r"(?!.*\b(?:val|eval|test|dev)[a-z]*\.)(?:.*\.)?"
    r"(?:(?:train|per[_-]device[_-]train|micro|mini)[ _-]?)?(?:batch[ _-]?size|bs)",
    re.IGNORECASE,
)
_OF_TRAINING = re.compile(r"(?:train(?:ing)?[ _/.\-]*)?loss", re.IGNORECASE)
# A counter with an unexpected total proves another batch size only after this many epochs in which
# no counter had the expected total.
_EPOCHS_WITHOUT = 2
# Fractional epochs are printed with at least two decimals, so they are off by at most this number.
_ROUNDING = 0.01
Span = tuple[int, int]
"""The least and the greatest possible number of training examples."""


def common_span(one: Span, other: Span) -> Span | None:
    """Return the intersection of two ranges of examples, or None if they do not overlap."""
    fewest, most = max(one[0], other[0]), min(one[1], other[1])
    return (fewest, most) if fewest <= most else None


Bounds = tuple[str, float, float]
"""What is bounded ("steps" per epoch or "examples" per step), the lower and the upper bound."""


# A position in a run, as printed: steps, examples, and bounds on passes over the data.
_Mark = tuple[int, int | None, tuple[float, float]]


class TrainedSize:
    """The printed counters of one run, compared with the given batch size.

    Printed steps and epochs give bounds on the steps of an epoch. Printed steps and samples give
    bounds on the examples of a step. The exact numbers are not known: a counter may be printed
    before or after its step, and an epoch number says only that the run is somewhere in that epoch.
    """

    def __init__(self, trial: Trial, *, most_examples: float, is_limit: bool = False) -> None:
        """Prepare to check one run, which trains with the batch size of `trial`.

        The number of training examples is from `trial.n_train` to `most_examples`. If the latter is
        infinite, only batch sizes that the script prints are checked, not its counters. If
        `is_limit` is True, the batch size is an upper limit, such as the last size of a ramp-up, so
        smaller batches are no contradiction.
        """
        self._trial = trial
        self._is_limit = is_limit
        self._most_examples = most_examples
        # If gradients are accumulated, a printed step may cover any of these numbers of examples.
        self._sizes = {trial.batch_size, trial.micro_batch_size, trial.process_batch_size}
        # For each line format, the position at which the step counter started.
        self._begun: dict[str, _Mark] = {}
        self._last_step: dict[str, int] = {}
        # The last epoch in which a counter had the total that fits the given batch size.
        self._right_in = -_EPOCHS_WITHOUT
        # Printed passes over the data may be off by this number, because a whole number may be the
        # number of the current epoch.
        self._off = 1.0
        # Whether the last printed batch size was right, and whether the training has begun. If both
        # hold, ignore a smaller printed batch size: the last batch of an epoch may be smaller.
        self._has_printed_right = self._has_begun = False
        # The evidence of another batch size, if the last printed size is not the given batch size.
        self._other: str | None = None

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
        # Judge by printed batch sizes only once the training has begun, and only by the last of
        # them: before, a script may print a default batch size, or sizes that it tries.
        self._has_begun = self._has_begun or reading.has_position
        if self._has_begun and self._other is not None:
            return self._other
        if self._most_examples == math.inf:
            return None
        return next(filter(None, map(self._refuted, self._bounds_by(reading))), None)

    # ---- what was printed

    def _bounds_by(self, reading: Reading) -> Iterator[Bounds]:
        if reading.epoch_step is not None and reading.epoch is not None:
            yield "steps", reading.epoch_step, math.inf  # more steps may follow in this epoch
        elif reading.step is not None:
            if reading.epoch is None and reading.epoch_length is not None:
                yield "steps", reading.epoch_length, reading.epoch_length
            here = reading.step, reading.samples, self._passes(reading)
            yield from _between(self._beginning(reading, here), here)
        elif reading.epoch_length is not None:
            yield from self._of_loop(reading, reading.epoch_length)

    def _passes(self, reading: Reading) -> tuple[float, float]:
        """Return bounds on the passes over the data; 0 and infinity if the reading shows none."""
        if reading.epoch_number is not None:
            return reading.epoch_number, reading.epoch_number + 1
        # A progress bar that has not restarted yet may span the whole training instead of one
        # epoch, so its count does not show the passes over the data.
        if reading.epoch is None or reading.epoch_length:
            return 0.0, math.inf
        if reading.epoch % 1 != 0:
            self._off = _ROUNDING
        return max(0.0, reading.epoch - self._off), reading.epoch + self._off

    def _beginning(self, reading: Reading, here: _Mark) -> _Mark:
        """Return the position where the step counter started; `reading` has the position `here`."""
        shape, (step, _, passes) = reading.shape, here
        counts_anew = step < self._last_step.get(shape, 0)
        self._last_step[shape] = step
        if counts_anew or shape not in self._begun:
            self._begun[shape] = here
            if passes[0] <= 1:
                # Epochs are numbered from the first printed one, perhaps the run's second epoch.
                n_hidden = int(reading.epoch_number is not None)
                self._begun[shape] = 0, 0, (-n_hidden, 0)
        return self._begun[shape]

    def _of_loop(self, reading: Reading, length: int) -> Iterator[Bounds]:
        """Yield `length` as the steps of an epoch if it shows that the batch size is another one.

        `length` is the total of a counter, such as 500 in "20/500". Loops over validation data
        print other totals than the training loop. So an unexpected total is evidence only in a line
        with a training loss, after two epochs in which no counter had the expected total.
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
        """Return why the given batch size cannot explain the printed bounds, or None if it can."""
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
        """Return the bounds on `what` ("steps" or "examples") that fit the batch size `size`."""
        # A script may drop a last batch that is smaller than the others.
        fewest, most = self._trial.n_train // size, -(-self._most_examples // size)
        smallest = min(size, self._trial.n_train / most)
        if self._is_limit:
            most, smallest = math.inf, 0
        return (fewest, most) if what == "steps" else (smallest, size)


def _between(before: _Mark, here: _Mark) -> Iterator[Bounds]:
    (step_before, samples_before, passes_before), (step, samples, passes) = before, here
    steps = step - step_before
    if steps <= 0:
        return
    fewest, most = passes[0] - passes_before[1], passes[1] - passes_before[0]
    # If the printed epochs decreased, they give no bounds on the number of steps per epoch.
    if most > 0:
        yield "steps", (steps - 1) / most, _over(steps + 1, fewest)
    if samples is not None and samples_before is not None:
        samples -= samples_before
        yield "examples", samples / (steps + 1), _over(samples, steps - 1)


def _over(count: float, n: float) -> float:
    return count / n if n > 0 else math.inf


def _meet(fewest: float, most: float, low: float, high: float) -> bool:
    """Return whether `fewest` to `most` overlaps `low` to `high`, give or take `_TOLERANCE`."""
    return fewest <= high * (1 + _TOLERANCE) and most >= low * (1 - _TOLERANCE)


def _range(fewest: float, most: float) -> str:
    low = math.floor(fewest)
    if most == math.inf:
        return f"at least {low}"
    high = math.ceil(most)
    return str(high) if low == high else f"{low} to {high}"
