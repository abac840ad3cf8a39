"""Look: a short probe run of a script. LookComparison: compares what two probe runs printed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Self

from batchlab.records.trial import Trial
from batchlab.script.command import TrainingCommand, plain_flag, trial_values
from batchlab.script.follow import FollowedTraining
from batchlab.script.formats import LOG_SHAPE
from batchlab.script.metric import BATCH_LOSSES, MetricPoint, ProgressPoints, plain_name
from batchlab.script.process import READ_EVERY_S, CommandEnd
from batchlab.script.reading import Reading
from batchlab.script.trained_size import Span, TrainedSize, common_span

# A probe run waits for this many metric values after the first step, to compare it with other runs:
# two different trainings may print one equal value by chance.
VALUES = 2
_GRACE_S = 5.0  # Seconds from SIGTERM to SIGKILL, or less if the time limit is short.
# The values of {epochs} and {steps} in a probe run. They are large, because batchlab ends the run.
_EPOCHS = 1000
_STEPS = 10**6
# Times of printed lines may be off by this many seconds on a busy machine.
_CLOCK_S = 0.05
# A probe run takes some seconds to print `VALUES` metric values. It waits for its second epoch for
# at most this many times as long.
_PATIENCE = 5.0
# Printed epochs have few digits, so a relative difference below this fraction is rounding.
ROUNDING = 1e-3

# Names under which scripts print their learning rate.
_RATES = {
    *("learning_rate", "lr", "base_lr", "init_lr", "initial_lr", "lr0", "learning_rate_init"),
    *("initial_learning_rate", "peak_lr", "max_lr", "blr", "step_size"),
}
# Names of settings, such as the batch size, that a script may print although it ignores them.
_GIVEN = {
    *_RATES,
    *("batch_size", "train_batch_size", "per_device_train_batch_size", "batchsize", "bs"),
    *("batch_size_per_gpu", "batch_size_per_device", "samples_per_gpu", "global_batch_size"),
    *("train_bs", "mini_batch_size", "minibatch_size", "micro_batch_size", "accumulation_steps"),
    *("batch", "max_tokens", "max_steps", "steps", "num_steps", "n_steps", "total_steps"),
    *("max_train_steps", "num_train_steps", "train_steps", "max_iters", "num_iterations"),
    *("seed", "random_seed", "manual_seed", "seed_everything", "rng_seed", "random_state"),
}

Enough = Callable[["Look"], bool | None]


class Look:
    """A probe run: a training that is ended early. Stores what it printed and how it ended.

    Attributes:
        trial: the trial that the run trains.
        progress: the metric values with their positions, and what was recognized in the output.
        readings: all progress that was read.
        points: the position and time of each progress report.
        resolution_s: the largest delay of the times in `points`; 0.0 if the script logs the times.
        took_s: seconds from the start of the run to its end, or until now while it runs.
        seen_s: seconds from the start until `VALUES` metric values were read; infinite before.
        end: how the run ended; not set while it runs.
    """

    end: CommandEnd

    def __init__(
        self,
        command: TrainingCommand,
        trial: Trial,
        *,
        is_timed: bool = False,
    ) -> None:
        """Prepare to run `trial`; a trial without a horizon is run as a very long training.

        If `is_timed` is True, training with another batch size is an error. A metric named `loss`
        or `train_loss` is ignored then, because it may be of a batch instead of an evaluation.
        """
        self.trial = trial
        self._values = trial_values(trial, last_step=_STEPS)
        if trial.horizon_steps is None:
            self._values["epochs"] = command.epochs or _EPOCHS
        size = command.trained_size(trial) if is_timed else None
        self.progress = ProgressPoints(command.metric, trial, command.pattern, size=size)
        self.readings: list[Reading] = []
        self.points: list[MetricPoint] = []
        self.resolution_s = 0.0
        self.took_s, self.seen_s = 0.0, math.inf
        self._began_s = 0.0
        self._command = command
        self._is_timed = is_timed

    def run(self, is_enough: Enough, *, folder: Path, marker: str, limit_s: float) -> Self:
        """Run the command until `is_enough(self)` is true, for `limit_s` seconds at the longest.

        Raises:
            ProgressError: the progress that the command reports contradicts itself.
        """
        began_s = self._began_s = time.monotonic()

        def take(readings: Sequence[Reading]) -> bool:
            for reading in readings:
                self._add(reading)
            self.took_s = time.monotonic() - began_s
            if len(self.trained) >= VALUES:
                self.seen_s = min(self.seen_s, self.took_s)
            is_over = self.took_s >= limit_s or bool(is_enough(self))
            if is_over:
                training.stop_reading()  # The run is over: ignore all later output.
            return is_over

        with FollowedTraining(
            *(self._command, self._values),
            folder=folder,
            marker=marker,
            grace_s=min(_GRACE_S, limit_s / 4),
        ) as training:
            self.end = training.follow(take)
        self.took_s = time.monotonic() - began_s
        return self

    def _add(self, reading: Reading) -> None:
        self.readings.append(reading)
        if self._is_timed and plain_name(self.progress.printed or "") in BATCH_LOSSES:
            reading = replace(reading, values=())
        point = self.progress.add(reading)
        if point is not None:
            self.points.append(point)
            if reading.shape != LOG_SHAPE:
                self.resolution_s = READ_EVERY_S

    def has_trained(self, least_s: float = 0.0) -> bool:
        """Return whether this probe run has printed enough metric values and epochs.

        `VALUES` metric values are needed. If the progress counts only epochs, the run also has to
        last `least_s` seconds after its first progress. Otherwise, wait up to 5 × `seen_s` seconds
        for the second epoch, if it is needed to show the number of steps per epoch.
        """
        if self.seen_s == math.inf:
            return False
        if self.counts_only_epochs:
            return time.monotonic() - self.readings[0].at_s >= least_s
        numbers = {reading.epoch_number for reading in self.readings if reading.step} - {None}
        is_first = numbers == {0} and self._command.examples is None
        return not is_first or self.took_s >= _PATIENCE * self.seen_s

    @property
    def start_s(self) -> float | None:
        """Seconds from the start of the run to its first progress; None without progress."""
        return self.readings[0].at_s - self._began_s if self.readings else None

    @property
    def trained(self) -> list[float]:
        """The metric values at step 1 and later; the last value of each step."""
        values = {}
        for point in self.progress.points:
            if point.step > 0:
                values[point.step] = point.value
        return [value for value in values.values() if value is not None]

    @property
    def is_cut(self) -> bool:
        """Whether the time limit ended the run before `VALUES` metric values were seen."""
        return self.end.was_asked and len(self.trained) < VALUES

    @property
    def examples(self) -> Span | None:
        """Bounds on the number of training examples, or None if they are unclear.

        Printed epochs and samples give the exact number. Printed epochs and steps give bounds,
        because the size of an epoch's last batch is unknown.
        """
        # A progress bar over the whole training looks like a bar over one epoch, so its total may
        # not be the steps of an epoch. So first try readings of the format that printed the metric.
        shape = self.progress.first and self.progress.first.shape
        for reading in sorted(reversed(self.readings), key=lambda reading: reading.shape != shape):
            if reading.epoch and reading.samples:
                exact = round(reading.samples / reading.epoch)
                return exact, exact
            if reading.epoch and reading.step:
                return _in_steps(reading.step / reading.epoch, self.trial)
            if reading.epoch is None and reading.step and reading.epoch_length:
                return _in_steps(reading.epoch_length, self.trial)
        return self._examples_by_numbers

    @property
    def _examples_by_numbers(self) -> Span | None:
        """Bounds on the number of training examples, by printed epochs and steps, or None."""
        fewest, most = 0, math.inf  # bounds on the steps of an epoch
        for reading in self.readings:
            step, number = reading.step, reading.epoch_number
            if number is not None and step:
                fewest = max(fewest, math.ceil(step / (number + 1)))
                if number:
                    most = min(most, math.ceil(step / number) - 1)
        if not fewest <= most < math.inf:
            return None
        return _in_steps(fewest, self.trial)[0], _in_steps(most, self.trial)[1]

    @property
    def counts_only_epochs(self) -> bool:
        """Whether the printed progress counts epochs, but neither steps nor examples."""
        finer = attrgetter("step", "samples", "epoch_length", "epoch_step")
        if any(any(finer(reading)) for reading in self.readings):
            return False
        return any(reading.epoch for reading in self.readings)

    @property
    def needs_examples(self) -> bool:
        """Whether the user has to give the number of training examples, because none is printed."""
        command = self._command
        if command.examples or self.examples or self.within_epochs:
            return False
        if self.counts_only_epochs:
            return command.takes("steps")
        for reading in self.readings:
            if (reading.epoch, reading.epoch_number) != (None, None) or reading.epoch_length:
                return True
        return command.spans_a_length

    @property
    def epoch_s(self) -> tuple[float, float]:
        """Bounds on the mean seconds of an epoch, for progress that counts only epochs.

        The bounds are 0 and infinity if less than a whole epoch was seen.
        """
        ends = {}
        for reading in reversed(self.readings):
            if reading.epoch:
                ends[reading.epoch] = reading.at_s
        n_epochs = max(ends, default=0.0) - min(ends, default=0.0)
        if n_epochs < 1:
            return 0.0, math.inf
        took_s = max(ends.values()) - min(ends.values())
        return max(0.0, took_s - _CLOCK_S) / n_epochs, (took_s + _CLOCK_S) / n_epochs

    @property
    def printed_rate(self) -> float | None:
        """The learning rate that the script prints; None if it prints no rate, or several."""
        printed = chain.from_iterable(reading.values for reading in self.readings)
        rates = {value for name, value in printed if plain_flag(name) in _RATES}
        return rates.pop() if len(rates) == 1 else None

    @property
    def within_epochs(self) -> list[tuple[int, int]]:
        """Printed (count, total) pairs within an epoch, such as (640, 60000) for examples."""
        counts = []
        for reading in self.readings:
            if reading.epoch is not None and reading.epoch_length and reading.step is None:
                count = round(reading.epoch % 1 * reading.epoch_length)
                counts.append((count, reading.epoch_length))
        return counts

    def contradiction(self, examples: Span) -> str | None:
        """Return evidence that the run trained with another batch size, or None.

        `examples` are bounds on the number of training examples.
        """
        trial, most = replace(self.trial, n_train=examples[0]), examples[1]
        size = TrainedSize(trial, most_examples=most, is_limit=self._command.has_limit)
        return next(filter(None, map(size.contradiction, self.readings)), None)

    def examples_beside(self, other: Look) -> Span | None:
        """Return bounds on the number of training examples by comparing two probe runs, or None.

        Both runs, with different batch sizes, print a count and its total in an epoch. If the
        totals are equal and the counts rise by the batch size, they count examples. If the totals
        differ, they count batches.
        """
        if not (self.within_epochs and other.within_epochs):
            return None
        length, other_length = self.within_epochs[-1][1], other.within_epochs[-1][1]
        if length == other_length:
            if not (self._counts_by_the_batch and other._counts_by_the_batch):
                return None
            return length, length
        return common_span(_in_steps(length, self.trial), _in_steps(other_length, other.trial))

    @property
    def _counts_by_the_batch(self) -> bool:
        counts = {count for count, _ in self.within_epochs}
        # Counts of examples are multiples of the batch size, except after a smaller last batch.
        n_smaller = sum(count % self.trial.batch_size > 0 for count in counts)
        return len(counts) > 1 and n_smaller <= 1


def _in_steps(steps: float, trial: Trial) -> Span:
    """Return bounds on the number of examples in an epoch of `steps` steps.

    If `steps` is whole, the last batch may be smaller than the others. If `steps` is a fraction,
    such as 12.5, it shows the size of the last batch, so both bounds are the exact number.
    """
    size, whole = trial.batch_size, round(steps)
    if abs(steps - whole) > ROUNDING * steps:
        return round(steps * size), round(steps * size)
    return (whole - 1) * size + 1, whole * size


_ALIKE = 10  # Two runs hardly print this many equal losses by chance.
# The numbers that a run printed, as text, by their name and the counters of their line.
_Numbers = dict[tuple[str, object], str]


class LookComparison:
    """A test whether changing a flag, such as {seed}, changes the numbers that a run prints.

    A run with another value of the flag is compared with two runs that have equal arguments. All
    printed numbers are compared, because the metric may be rounded to a value that all runs share.
    A number that differs even between the two equal runs is no evidence.

    Attributes:
        is_repeatable: whether the two equal runs print exactly equal numbers.
        is_telling: whether any number changes during a run; otherwise, equality proves nothing.
    """

    def __init__(self, first: Look, again: Look | None) -> None:
        """Compare two equal runs; if `again` is None, assume that it would equal `first`."""
        self._numbers = _numbers(first)
        twin = _numbers(again or first)
        unsteady = _differing(self._numbers, twin)
        self._steady = {}
        for key in self._numbers.keys() & twin:
            if key[0] not in unsteady:
                self._steady[key] = twin[key]
        self.is_repeatable = not unsteady
        shown = {(name, value) for (name, _), value in self._numbers.items()}
        self.is_telling = len(shown) > len({name for name, _ in shown})

    def acts(self, look: Look) -> bool | None:
        """Return whether the run `look`, with a changed flag, printed other numbers.

        Numbers that differ even between the two runs with equal arguments are no evidence. Return
        None if it is unclear.
        """
        numbers = _numbers(look)
        if _differing(self._steady, numbers):
            return True
        is_same = self.is_repeatable and not _differing(self._numbers, numbers)
        return False if is_same and self.is_telling else None


def _numbers(look: Look) -> _Numbers:
    """Return the numbers that a probe run printed, except settings such as the batch size."""
    numbers: _Numbers = {}
    for reading in look.readings:
        for name, value in reading.values:
            if plain_flag(name) not in _GIVEN:
                numbers.setdefault((f"{reading.shape} {name}", reading.counters), repr(value))
    # Key the metric by evaluation number, because its steps depend on the batch size. Use its first
    # value at each step: a bar may print a later value, which depends on when the run ended.
    first_values: dict[int, float] = {}
    for point in look.points:
        if point.value is not None and point.step > 0:
            first_values.setdefault(point.step, point.value)
    for number, value in enumerate(first_values.values()):
        numbers["the metric", number] = repr(value)
    return numbers


def _differing(one: _Numbers, other: _Numbers) -> set[str]:
    """Return the names of numbers that two runs printed differently at the same step or epoch."""
    return {key[0] for key in one.keys() & other.keys() if one[key] != other[key]}


def has_losses(look: Look) -> bool:
    """Return whether a run printed at least `_ALIKE` distinct losses, enough for a comparison."""
    losses: dict[object, float] = {}
    for reading in look.readings:
        for name, value in reading.values:
            if "loss" in name.lower():
                losses.setdefault(reading.counters, value)
    return len({*losses.values()}) >= _ALIKE
