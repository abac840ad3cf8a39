"""Looks: beginnings of trainings, read until enough was seen, and whether two of them differ."""

from __future__ import annotations

import math
import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from batchlab.records.trial import Status, Trial
from batchlab.script.command import NAMES, TrainingCommand, Value, plain_flag, trial_values
from batchlab.script.follow import FollowedTraining, Moment
from batchlab.script.formats import LOG_SHAPE
from batchlab.script.metric import BATCH_LOSSES, ProgressPoints, plain_name
from batchlab.script.process import CommandEnd
from batchlab.script.reading import Reading, is_of_clock
from batchlab.script.supervisor import REST_S
from batchlab.script.trained_size import TrainedSize

# Number of metric values after the first step that a look waits for, because two trainings may
# print the same single value by chance.
VALUES = 2
_GRACE_S = 5.0
# The length that a script is asked for if batchlab ends it after a look anyway.
_EPOCHS = 1000
_STEPS = 10**6
# A moment is known up to the interval at which a chatty command's output is read.
_CLOCK_S = 0.05
_PATIENCE = 5.0  # times what a look has taken, for the second epoch
# Epochs are printed rounded to a few digits.
ROUNDING = 1e-3

Enough = Callable[["Look"], bool]
Span = tuple[int, int]
"""The fewest and the most training examples that there can be."""


class Look:
    """A training that is run to see how it goes on: what its output showed, and how it ended.

    Attributes:
        trial: what it trains.
        values: the values of the placeholders.
        progress: the points at which its metric was seen.
        readings: all that was read.
        moments: when it reported how far it is.
        first_values: by step, the metric as it was printed first; a bar repeats it, and its last
            value depends on when the look ended.
        took_s: seconds since it began, until it ended.
        seen_s: seconds until its metric was seen often enough; infinite until then.
        end: how it ended; not there before.
        is_whole: whether it was read until it ended by itself with success.
    """

    end: CommandEnd

    def __init__(
        self,
        command: TrainingCommand,
        trial: Trial,
        values: Mapping[str, Value | None] | None = None,
        *,
        is_timed: bool = False,
    ) -> None:
        """Begin without readings; by default the script is asked for a long training.

        If its steps are timed, it has to train with its batch size, and losses of batches are not
        read, because validation may have the same name for its own.
        """
        self.trial = trial
        asked = trial_values(trial, last_step=_STEPS) | {"epochs": command.epochs or _EPOCHS}
        self.values = asked if values is None else values
        size = command.trained_size(trial) if is_timed else None
        self.progress = ProgressPoints(command.metric, trial, command.pattern, size=size)
        self.readings: list[Reading] = []
        self.moments: list[Moment] = []
        self.first_values: dict[int, float] = {}
        self.took_s, self.seen_s = 0.0, math.inf
        self.is_whole = False
        self._began_s = 0.0
        self._command = command
        self._is_timed = is_timed

    def run(self, is_enough: Enough, *, folder: Path, marker: str, limit_s: float) -> Self:
        """Run the command until it `is_enough`, `limit_s` seconds at the most, then end it.

        Raises:
            ProgressError: its progress contradicts itself.
        """
        began_s = self._began_s = time.monotonic()
        is_asked = is_cut = False

        def take(readings: Sequence[Reading]) -> bool:
            nonlocal is_asked, is_cut
            is_cut = is_cut or (is_asked and bool(readings))
            for reading in () if is_asked else readings:
                self._add(reading)
            self.took_s = time.monotonic() - began_s
            if len(self.trained) >= VALUES:
                self.seen_s = min(self.seen_s, self.took_s)
            is_asked = is_asked or self.took_s >= limit_s or is_enough(self)
            return is_asked

        with FollowedTraining(
            *(self._command, self.values),
            folder=folder,
            marker=marker,
            grace_s=min(_GRACE_S, limit_s / 4),
        ) as training:
            self.end = training.follow(take)
        self.took_s = time.monotonic() - began_s
        self.is_whole = self.end.status is Status.OK and not (self.end.was_asked or is_cut)
        return self

    def _add(self, reading: Reading) -> None:
        self.readings.append(reading)
        is_of_batches = self._is_timed and plain_name(self.progress.printed or "") in BATCH_LOSSES
        point = self.progress.add(replace(reading, values=()) if is_of_batches else reading)
        if point is not None:
            moment = Moment(
                at_s=reading.at_s,
                step=point.step,
                has_metric=point.value is not None and not is_of_batches,
                resolution_s=0.0 if reading.shape == LOG_SHAPE else REST_S,
            )
            self.moments.append(moment)
            if point.value is not None and point.step > 0:
                self.first_values.setdefault(point.step, point.value)

    def has_trained(self, least_s: float = 0.0) -> bool:
        """Return whether its metric was seen often enough.

        If only epochs are counted, they are followed for `least_s` seconds, to be timed. Within the
        first epoch the second is waited for, which shows how many steps an epoch has.
        """
        if self.seen_s == math.inf:
            return False
        if self.counts_only_epochs:
            return time.monotonic() - self.readings[0].at_s >= least_s
        numbers = {each.epoch_number for each in self.readings if each.step} - {None}
        is_first = numbers == {0} and self._command.examples is None
        return not is_first or self.took_s >= _PATIENCE * self.seen_s

    @property
    def start_s(self) -> float | None:
        """Seconds from its start to its first progress; None if there was none."""
        return self.readings[0].at_s - self._began_s if self.readings else None

    @property
    def trained(self) -> list[float | None]:
        """The values of the metric after the first step, one per step."""
        points = self.progress.points
        return [*{point.step: point.value for point in points if point.step > 0}.values()]

    @property
    def is_cut(self) -> bool:
        """Whether the time for the look ended before enough was seen."""
        return self.end.was_asked and len(self.trained) < VALUES

    @property
    def examples(self) -> Span | None:
        """The number of examples; None unless its progress counts epochs and steps or examples.

        If it counts steps but not examples, the last batch of an epoch may have any size.
        """
        # The metric's format comes first: a bar over the whole training looks like one of an epoch.
        first = self.progress.first
        of_metric = [each for each in self.readings if first and each.shape == first.shape]
        for reading in (*reversed(of_metric), *reversed(self.readings)):
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
        """Bounds by steps that are counted on, printed with the number of the epoch."""
        fewest, most = 0, math.inf  # steps of an epoch
        for each in self.readings:
            if each.epoch_number is not None and each.step:
                fewest = max(fewest, math.ceil(each.step / (each.epoch_number + 1)))
                if each.epoch_number:
                    most = min(most, math.ceil(each.step / each.epoch_number) - 1)
        if not fewest <= most < math.inf:
            return None
        return _in_steps(fewest, self.trial)[0], _in_steps(most, self.trial)[1]

    @property
    def counts_only_epochs(self) -> bool:
        """Whether its progress says how many epochs are done, and nothing finer."""
        finer = (
            each.step or each.samples or each.epoch_length or each.epoch_step
            for each in self.readings
        )
        return any(each.epoch for each in self.readings) and not any(finer)

    @property
    def needs_examples(self) -> bool:
        """Whether nothing says how many examples there are, and their number decides."""
        command = self._command
        if command.examples or self.examples or self.within_epochs:
            return False
        if self.counts_only_epochs:
            return command.takes("steps")
        has_epochs = any(
            each.epoch is not None or each.epoch_number is not None or each.epoch_length
            for each in self.readings
        )
        return has_epochs or command.spans_a_length

    @property
    def epoch_s(self) -> tuple[float, float]:
        """The fewest and the most seconds that an epoch took on average, if only they are counted.

        They are 0 and infinity if less than a whole epoch was seen.
        """
        ends = {each.epoch: each.at_s for each in reversed(self.readings) if each.epoch}
        n_epochs = max(ends, default=0.0) - min(ends, default=0.0)
        if n_epochs < 1:
            return 0.0, math.inf
        took_s = max(ends.values()) - min(ends.values())
        return max(0.0, took_s - _CLOCK_S) / n_epochs, (took_s + _CLOCK_S) / n_epochs

    @property
    def printed_rate(self) -> float | None:
        """The learning rate that it prints; None if it prints none, or several."""
        rates = {
            value
            for each in self.readings
            for name, value in each.values
            if plain_flag(name) in NAMES["learning_rate"]
        }
        return rates.pop() if len(rates) == 1 else None

    @property
    def within_epochs(self) -> list[tuple[int, int]]:
        """Counters such as [640/60000] and their totals, if nothing says what they count."""
        return [
            (round(each.epoch % 1 * each.epoch_length), each.epoch_length)
            for each in self.readings
            if each.epoch is not None and each.epoch_length and each.step is None
        ]

    def contradiction(self, examples: Span) -> str | None:
        """Return what contradicts the batch size, given `examples`, or None if nothing does."""
        trial, most = replace(self.trial, n_train=examples[0]), examples[1]
        size = TrainedSize(trial, most_examples=most, is_limit=self._command.has_limit)
        return next(filter(None, map(size.contradiction, self.readings)), None)

    def examples_beside(self, other: Look) -> Span | None:
        """Return the examples by the counters of two batch sizes, or None if their unit is unclear.

        A counter of examples has the same total at both batch sizes and rises by one batch at a
        time. A counter of batches has a smaller total at the larger batch size.
        """
        if not (self.within_epochs and other.within_epochs):
            return None
        length, other_length = self.within_epochs[-1][1], other.within_epochs[-1][1]
        if length == other_length:
            is_of_examples = self._counts_by_the_batch and other._counts_by_the_batch
            return (length, length) if is_of_examples else None
        one, two = _in_steps(length, self.trial), _in_steps(other_length, other.trial)
        fewest, most = max(one[0], two[0]), min(one[1], two[1])
        return (fewest, most) if fewest <= most else None

    @property
    def _counts_by_the_batch(self) -> bool:
        counted = {count for count, _ in self.within_epochs}
        # The last batch of an epoch may be smaller, and is sometimes printed.
        return (
            len(counted) > 1 and sum(bool(count % self.trial.batch_size) for count in counted) <= 1
        )


def _in_steps(steps: float, trial: Trial) -> Span:
    """Return the examples in an epoch of `steps`; part of a step is the same part of a batch."""
    size, whole = trial.batch_size, round(steps)
    if abs(steps - whole) > ROUNDING * steps:
        return round(steps * size), round(steps * size)
    return (whole - 1) * size + 1, whole * size


# Numbers about the machine differ from run to run, whatever the flags do.
_OF_MACHINE = re.compile(
    r"(?<![a-z])(speed|throughput|fps|mfu|ups|wps|ips|mem|memory|allocated)(?![a-z])|per_s(ec)?$|"
    r"^(data|pid|(batch|data|reader)[_ ]cost)$",
    re.IGNORECASE,
)
# A script may print a value that it was given without using it.
_GIVEN = {
    *(plain_flag(name) for names in NAMES.values() for name in names),
    "micro_batch_size",
    "accumulation_steps",
}
_ALIKE = 10
_Numbers = dict[str, dict[object, float]]


class LookComparison:
    """Two beginnings with the same arguments, with which others are compared.

    All numbers that a script prints count, because its metric may be rounded to a value that all
    runs share. A number that differs between these two runs says nothing about a flag.

    Attributes:
        is_repeatable: whether the two print exactly the same numbers.
        is_telling: whether any number changes along a run, so that equal numbers mean something.
    """

    def __init__(self, first: Look, again: Look | None) -> None:
        """Compare the two. If `again` is None, assume that no number differs by itself."""
        numbers = _numbers(first)
        twin = numbers if again is None else _numbers(again)
        self._numbers = numbers
        self._steady = {
            name: {place: by_place[place] for place in by_place.keys() & twin.get(name, {}).keys()}
            for name, by_place in numbers.items()
            if not _differ(by_place, twin.get(name, {}))
        }
        self.is_repeatable = len(self._steady) == len(numbers)
        self.is_telling = any(len({*map(repr, each.values())}) > 1 for each in numbers.values())

    def differs(self, look: Look) -> bool:
        """Return whether a beginning differs from the two where they agree."""
        return _any_differs(self._steady, _numbers(look))

    def acts(self, look: Look) -> bool | None:
        """Return whether a beginning differs because of its arguments, or None if that is open.

        A number that differs only later than the two were compared may do so by itself.
        """
        if self.differs(look):
            return True
        is_same = self.is_repeatable and not _any_differs(self._numbers, _numbers(look))
        return False if is_same and self.is_telling else None


def _numbers(look: Look) -> _Numbers:
    """Return each number about the training, by its name and the counters that it came with."""
    numbers: _Numbers = defaultdict(dict)
    for reading in look.readings:
        for name, value in reading.values:
            is_of_machine = is_of_clock(name) or _OF_MACHINE.search(name)
            if not is_of_machine and plain_flag(name) not in _GIVEN:
                numbers[f"{reading.shape} {name}"].setdefault(reading.counters, value)
    # The metric by its number of the evaluation, because the steps depend on the batch size.
    numbers["the metric"] = dict(enumerate(look.first_values.values()))
    return numbers


def _any_differs(one: _Numbers, other: _Numbers) -> bool:
    return any(_differ(each, other.get(name, {})) for name, each in one.items())


def _differ(one: dict[object, float], other: dict[object, float]) -> bool:
    """Return whether two runs printed different values of a number for the same counters."""
    return any(repr(one[place]) != repr(other[place]) for place in one.keys() & other.keys())


def has_losses(look: Look) -> bool:
    """Return whether there are enough different losses that equal ones can't be a coincidence."""
    losses: dict[object, float] = {}
    for reading in look.readings:
        for name, value in reading.values:
            if "loss" in name.lower():
                losses.setdefault(reading.counters, value)
    return len({*losses.values()}) >= _ALIKE
