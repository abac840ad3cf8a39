"""CommandCheck: the check, before any budget is spent, that a command trains and its flags act."""

from __future__ import annotations

import math
import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from batchlab.errors import (
    BatchSizeError,
    OtherBatchSizeError,
    ProgressError,
    UsageError,
    WorkloadError,
)
from batchlab.records.estimate import Reason
from batchlab.records.study import MetricSummary, WorkloadSummary
from batchlab.records.trial import Status, Trial
from batchlab.script.command import NAMES, TrainingCommand, Value, plain_flag, trial_values
from batchlab.script.flags import (
    MULTIPLIERS,
    RAMP_UPS,
    STEPS_OF_EPOCH,
    flags_set,
)
from batchlab.script.follow import FollowedTraining
from batchlab.script.metric import (
    MetricPoint,
    ProgressPoints,
    follows_size,
    moves_with_steps,
    plain_name,
)
from batchlab.script.process import CommandEnd
from batchlab.script.reading import Reading
from batchlab.script.trained_size import TrainedSize
from batchlab.words.catalogue import listing
from batchlab.words.reasons import reason_text

# Number of metric values after the first step that a look waits for, because two trainings may
# print the same single value by chance.
_VALUES = 2
_GRACE_S = 5.0
# A command without {learning_rate} uses a rate of its own, which is the same in all trials.
_NO_RATE = 1.0
# The length that a script is asked for if batchlab ends it after a look anyway.
_EPOCHS = 1000
_STEPS = 10**6
# Epochs are printed rounded to a few digits.
_ROUNDING = 1e-3

ONCE_AT_END = (
    "the metric is printed once, at the end of a training: nothing shows how long it takes to a "
    "target, and only final values can be compared"
)
"""The warning about a metric that a training without a given length prints once."""

_Enough = Callable[[Sequence[Reading]], bool]
Span = tuple[int, int]
"""The fewest and the most training examples that there can be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FirstLook:
    """The beginning of a training, and what its output showed."""

    trial: Trial
    told: ProgressPoints
    readings: tuple[Reading, ...]
    start_s: float | None  # from its start to its first progress; None if there was none
    took_s: float
    end: CommandEnd
    values: Mapping[str, Value | None]  # the values of the placeholders
    is_whole: bool  # whether it was read until it ended by itself with success

    @property
    def trained(self) -> list[float | None]:
        """The values of the metric after the first step, one per step."""
        return _trained(self.told)

    @property
    def is_cut(self) -> bool:
        """Whether the time for the look ended before enough was seen."""
        return self.end.was_asked and len(self.trained) < _VALUES

    @property
    def examples(self) -> Span | None:
        """The number of examples; None unless its progress counts epochs and steps or examples.

        If it counts steps but not examples, the last batch of an epoch may have any size.
        """
        # The metric's format comes first: a bar over the whole training looks like one of an epoch.
        first = self.told.first
        told = [each for each in self.readings if first and each.shape == first.shape]
        for reading in (*reversed(told), *reversed(self.readings)):
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
        """Bounds by steps that go on beside the number of the epoch, as in "epoch 2 step 57"."""
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
        return counts_only_epochs(self.readings)

    def needs_examples(self, command: TrainingCommand) -> bool:
        """Return whether nothing says how many examples there are, and their number decides."""
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

    def contradiction(self, examples: Span, *, is_limit: bool) -> str | None:
        """Return what contradicts the batch size, given `examples`, or None if nothing does.

        If the batch size `is_limit`, only larger batches do.
        """
        trial, most = replace(self.trial, n_train=examples[0]), examples[1]
        size = TrainedSize(trial, most_examples=most, is_limit=is_limit)
        return next(filter(None, map(size.contradiction, self.readings)), None)

    def examples_beside(self, other: FirstLook) -> Span | None:
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


def counts_only_epochs(readings: Sequence[Reading]) -> bool:
    """Return whether these say how many epochs are done, and nothing finer."""
    finer = (each.step or each.samples or each.epoch_length or each.epoch_step for each in readings)
    return any(each.epoch for each in readings) and not any(finer)


def _trained(told: ProgressPoints) -> list[float | None]:
    return list({point.step: point.value for point in told.points if point.step > 0}.values())


def _in_steps(steps: float, trial: Trial) -> Span:
    """Return the examples in an epoch of `steps`; part of a step is the same part of a batch."""
    size, whole = trial.batch_size, round(steps)
    if abs(steps - whole) > _ROUNDING * steps:
        return round(steps * size), round(steps * size)
    return (whole - 1) * size + 1, whole * size


def first_look(
    command: TrainingCommand,
    trial: Trial,
    *,
    folder: Path,
    marker: str,
    limit_s: float,
    is_enough: _Enough | None = None,
    least_s: float = 0.0,
) -> FirstLook:
    """Run a command until its metric was seen a few times or `is_enough` holds, then end it.

    If it counts only epochs, they are followed for at least `least_s` seconds, to be timed.

    Raises:
        ProgressError: its progress contradicts itself.
    """
    began_s = time.monotonic()
    values = trial_values(trial, last_step=_STEPS) | {"epochs": command.epochs or _EPOCHS}
    told = ProgressPoints(command.metric, trial, pattern=command.pattern)
    seen: list[Reading] = []
    is_asked = is_cut = False

    def take(readings: Sequence[Reading]) -> bool:
        nonlocal is_asked, is_cut
        is_cut = is_cut or (is_asked and bool(readings))
        for reading in () if is_asked else readings:
            seen.append(reading)
            told.add(reading)
        now_s = time.monotonic()
        is_seen = len(_trained(told)) >= _VALUES
        if is_seen and counts_only_epochs(seen):
            is_seen = now_s - seen[0].at_s >= least_s
        numbers = {each.epoch_number for each in seen if each.step} - {None}
        if numbers == {0} and command.examples is None:
            is_seen = False  # the second epoch shows how many steps an epoch has
        is_asked = is_asked or is_seen or now_s - began_s >= limit_s
        if readings and is_enough is not None:
            is_asked = is_asked or is_enough(seen)
        return is_asked

    with FollowedTraining(
        command, values, folder=folder, marker=marker, grace_s=min(_GRACE_S, limit_s / 4)
    ) as training:
        end = training.follow(take)
    return FirstLook(
        trial=trial,
        told=told,
        readings=tuple(seen),
        start_s=seen[0].at_s - began_s if seen else None,
        took_s=time.monotonic() - began_s,
        end=end,
        values=values,
        is_whole=end.status is Status.OK and not (end.was_asked or is_cut),
    )


# Numbers about the machine differ from run to run, whatever the flags do.
_OF_MACHINE = re.compile(
    r"(?<![a-z])(time|runtime|secs?|seconds?|ms|eta|elapsed|took|dt|wall|speed|throughput|fps|mfu|"
    r"ups|wps|ips|mem|memory|allocated|duration|finished in)(?![a-z])|/s$|per_s(ec)?$|"
    r"^(data|pid|(batch|data|reader)[_ ]cost)$",
    re.IGNORECASE,
)
# A script may print a value that it was given without using it.
_GIVEN = {
    *(plain_flag(name) for names in NAMES.values() for name in names),
    "micro_batch_size",
    "accumulation_steps",
}
_METRIC = "the metric"
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

    def __init__(self, first: FirstLook, again: FirstLook | None) -> None:
        """Compare the two. If `again` is None, assume that no number differs by itself."""
        self._first = first
        self._known = known = _numbers(first)
        twin = known if again is None else _numbers(again)
        self._steady = {
            name: {place: value for place, value in told.items() if place in twin[name]}
            for name, told in known.items()
            if not _differ(name, told, twin)
        }
        self.is_repeatable = len(self._steady) == len(known)
        self.is_telling = any(len({*map(repr, told.values())}) > 1 for told in known.values())

    def is_seen(self, readings: Sequence[Reading]) -> bool:
        """Return whether a run at the same batch size differs from the two where they agree."""
        return _any_differs(self._steady, _numbers(replace(self._first, readings=tuple(readings))))

    def acts(self, look: FirstLook) -> bool | None:
        """Return whether a beginning differs because of its arguments, or None if that is open."""
        told = _numbers(look)
        if _any_differs(self._steady, told):
            return True
        is_same = self.is_repeatable and not _any_differs(self._known, told)
        return False if is_same and self.is_telling else None


def _any_differs(one: _Numbers, other: _Numbers) -> bool:
    return any(_differ(name, told, other) for name, told in one.items())


def _numbers(look: FirstLook) -> _Numbers:
    """Return each number about the training, by its name and the counters that it came with."""
    found: _Numbers = defaultdict(dict)
    first_told = dict[int, float]()
    again = ProgressPoints(look.told.metric, look.trial, pattern=look.told.pattern)
    for reading in look.readings:
        point = again.add(reading)
        # A bar repeats a step, and its last value depends on when the look ended: the first counts.
        if point is not None and point.value is not None and point.step > 0:
            first_told.setdefault(point.step, point.value)
        for name, value in reading.values:
            if _OF_MACHINE.search(name) is None and plain_flag(name) not in _GIVEN:
                found[f"{reading.shape} {name}"].setdefault(reading.counters, value)
    found[_METRIC] = dict(enumerate(first_told.values()))  # steps depend on the batch size
    return found


def _tells_losses(readings: Sequence[Reading]) -> bool:
    """Return whether there are enough different losses that equal ones can't be a coincidence."""
    told: dict[object, float] = {}
    for each in readings:
        for name, value in each.values:
            if "loss" in name.lower():
                told.setdefault(each.counters, value)
    return len({*told.values()}) >= _ALIKE


def _differ(name: str, one: dict[object, float], others: _Numbers) -> bool:
    """Return whether two runs printed different values of a number for the same counters."""
    other = others.get(name, {})
    return any(repr(one[place]) != repr(other[place]) for place in one.keys() & other.keys())


_SILENCE = (
    "The script runs, and has shown no progress for {seconds:.0f} s. It may still import its "
    "libraries or read its data, or keep its output in a buffer. PYTHONUNBUFFERED=1 is set, which "
    "helps where Python prints. Elsewhere try python -u, print(..., flush=True), or stdbuf -oL "
    "before the command."
)
# Dividing the rate by this much shows in any curve that depends on the rate.
_RATE_FACTOR = 8.0
# A pass over the data does not take this many times as long with larger batches.
_LONGER_EPOCH = 2.0
# A moment is known up to the interval at which a chatty command's output is read.
_CLOCK_S = 0.05
_TIMED_S = 1.0  # for this long the epochs of a batch size are timed, as far as it trains so long
# Nothing is trained with the rate times this, so the metric stays that of the untrained model.
_NO_TRAINING = 1e-6
# How much larger or smaller the batches are with which the metric of that model is compared.
_SIZE_FACTORS = (8, 4)
# The first look waits longest, because the first start, with empty caches, is the slowest.
_FIRST_SHARE = 0.5
_PROOF_SHARE = 0.4  # for all other looks together, which is a tenth of a budget
_ANOTHER_SIZE = "with another batch size"
_NO_EXAMPLES = "how many training examples there are is not known"


class CommandCheck:
    """The check of one command, by running its beginning with several values."""

    def __init__(
        self,
        command: TrainingCommand,
        *,
        workload_id: str,
        folder: Path,
        limit_s: float,
        left_s: Callable[[], float],
        tell: Callable[[str], None],
    ) -> None:
        """Prepare the check without running anything.

        The whole check may take `limit_s` seconds; `left_s` returns what is left of the budget.
        """
        self._command = command
        self._workload_id = workload_id
        self._folder = folder
        self._limit_s = limit_s
        self._left_s = left_s
        self._tell = tell
        self._spent_s = 0.0
        self._warnings: list[str] = []
        self._unchecked: list[str] = []  # what there was no time for
        self._looks: dict[object, FirstLook | None] = {}  # by the values that were changed
        self.looks: list[FirstLook] = []  # all that were run, in order

    def summary(self, *, proves: bool) -> WorkloadSummary:
        """Run the beginnings and return the findings; oddities and open questions become warnings.

        Raises:
            WorkloadError: it does not train, or its metric is never seen.
            UsageError: a flag does not act, or the number of examples is not known.
            ProgressError: its progress contradicts itself.
        """
        command = self._command
        share = _FIRST_SHARE if proves else 1.0
        first = self._looked(self._now_text(), {}, share * self._limit_s, least_s=_TIMED_S)
        self._refuse_what_cannot_be_followed(first)
        fewest, most = span = self._examples(first)
        self._refuse_another_size(first, span)
        if command.batch_size > most:
            raise BatchSizeError(
                f"batch size {command.batch_size} of this command: expected 1 to {most}, the "
                f"size of its training set; give --batch-size, the one you train with now"
            )
        if proves:
            self._limit_s = min(self._limit_s, self._spent_s + _PROOF_SHARE * self._limit_s)
        self._refuse_longer_epochs(first, span)
        if proves:
            fewest, most = self._proven(first, span)
        if self._unchecked:
            self._warnings.append(self._no_time_text())
        if fewest < most:
            self._warnings.append(
                f"there are {fewest} to {most} training examples, by the steps of an epoch; "
                f"{fewest} is taken, and --examples gives the exact number"
            )
        # If only steps are printed, nothing shows whether each of them is one batch.
        if fixed := self._set(MULTIPLIERS):
            self._warnings.append(
                f"the command fixes {fixed}: if a step of it adds up several batches of "
                f"{{batch_size}}, its true batch size is as many times larger; give "
                f"{{micro_batch_size}} and {{accumulation_steps}} then"
            )
        has_samples = any(each.samples for each in first.readings)
        if (growing := self._set(RAMP_UPS)) and not has_samples:
            self._warnings.append(
                f"the command has {growing}: if its batch grows to {{batch_size}} along a "
                f"training, fewer examples are seen than steps times {{batch_size}}, which are "
                f"counted here; have it print the samples seen"
            )
        if first.is_whole and len(first.trained) == 1 and not command.spans_a_length:
            self._warnings.append(ONCE_AT_END)
        if flag := command.token_flag:
            self._warnings.append(
                f"{{batch_size}} is what {flag} takes, so all that is said of batch sizes and "
                f"examples counts tokens"
            )
        if scaled := self._scaled_rate(first):
            self._warnings.append(scaled)
        if first.told.not_understood:
            values = ", ".join(first.told.not_understood)
            self._warnings.append(reason_text(Reason.of("log_not_understood", values=values)))
        self._tell(first.told.text())
        return WorkloadSummary(
            workload_id=self._workload_id,
            name=command.name,
            reference=command.name,
            settings=(),
            n_train=max(fewest, min(command.batch_size, most)),
            n_validation=None,
            n_test=0,
            n_train_evaluated=0,
            n_parameters=None,
            metrics=(MetricSummary(name=command.metric, better=command.direction),),
            batch_size=command.batch_size,
            learning_rate=command.learning_rate or _NO_RATE,
            warnings=tuple(self._warnings),
            start_s=first.start_s,
            takes_rate=command.takes("learning_rate"),
        )

    def _no_time_text(self) -> str:
        unchecked = listing(self._unchecked)
        return f"there was no time to check {unchecked}; a larger --budget has time for it"

    def _now_text(self) -> str:
        now = f"as you train now, at batch size {self._command.batch_size}"
        rate = self._command.learning_rate
        return now if rate is None else f"{now} and learning rate {rate:g}"

    # ---- beginnings

    def begun(self) -> FirstLook:
        """Return the beginning of a training with the values that the user trains with now.

        Raises:
            ProgressError: its progress contradicts itself.
        """
        return self._looked(self._now_text(), {}, self._limit_s)

    def _looked(
        self,
        what: str,
        changed: dict[str, float],
        limit_s: float,
        is_enough: _Enough | None = None,
        least_s: float = 0.0,
    ) -> FirstLook:
        self._tell(f"checking the command: {what}")
        command = self._command
        size = changed.get("batch_size", command.batch_size)
        trial = Trial(
            workload_id=command.name,
            workload=command.name,
            n_train=command.examples or int(size),  # a stand-in while the number is not known
            batch_size=int(size),
            learning_rate=changed.get("learning_rate", command.learning_rate or _NO_RATE),
            seed=int(changed.get("seed", 0)),
            world_size=command.devices,
        )
        found = first_look(
            command,
            trial,
            folder=self._folder / str(len(self.looks)),
            marker=f"{self._workload_id}/check",
            limit_s=max(1.0, min(limit_s, self._left_s())),
            is_enough=is_enough,
            least_s=least_s,
        )
        self._spent_s += found.took_s
        self.looks.append(found)
        return found

    def _compared(
        self,
        what: str,
        changed: dict[str, float],
        first: FirstLook,
        is_enough: _Enough | None = None,
    ) -> FirstLook | None:
        """Return another beginning, as long as the first or until it `is_enough`, run only once.

        The result is None if there was no time for it, or if it failed.
        """
        key = tuple(changed.items())
        if key not in self._looks:
            self._looks[key] = None
            left_s = self._limit_s - self._spent_s
            if left_s < (first.took_s if is_enough is None else first.start_s or 0.0):
                self._unchecked.append(f"a run {what}")
                return None
            look = self._looked(what, changed, min(left_s, 3 * first.took_s + 5.0), is_enough)
            given = self._command.examples
            contradiction = given and self._contradiction(look, (given, given))
            is_seen = look.trained or (is_enough is not None and is_enough(look.readings))
            if is_seen and not contradiction:
                self._looks[key] = look
            else:
                why = contradiction and f"it does not train with it: {contradiction}"
                why = why or "its metric was not seen in time"
                if not look.end.was_asked and look.end.reason is not None:
                    why = reason_text(look.end.reason).rstrip(".")
                self._warnings.append(f"the command could not be checked {what}: {why}")
        return self._looks[key]

    def _contradiction(self, look: FirstLook, examples: Span) -> str | None:
        is_limit = self._command.token_flag is not None
        return look.contradiction(examples, is_limit=is_limit)

    def _at_another_size(self, size: int, first: FirstLook) -> FirstLook | None:
        return self._compared(_ANOTHER_SIZE, {"batch_size": size}, first)

    def _refuse_another_size(self, look: FirstLook, examples: Span) -> None:
        """Refuse a command that trains with another batch size, or a wrong number of examples."""
        contradiction = self._contradiction(look, examples)
        if contradiction is None:
            return
        fixed, length = self._set(MULTIPLIERS), self._set(STEPS_OF_EPOCH)
        hint = f". The command fixes {fixed}: give 1" if fixed else ""
        hint += f". Its epochs have a fixed length by {length}" if length else ""
        own, one, (given, _) = look.trial.batch_size, look.examples, examples
        if one and not one[0] <= given <= one[1]:
            two = self._looked(_ANOTHER_SIZE, {"batch_size": 2 * own}, self._limit_s).examples
            if two and max(one[0], two[0]) <= min(one[1], two[1]):
                raise UsageError(
                    f"--examples {given}: by its progress an epoch has {one[0]} to {one[1]} "
                    f"examples with batch size {own}, and {two[0]} to {two[1]} with {2 * own}; "
                    f"give their number, or, where a step is more than one batch of "
                    f"{{batch_size}}, {{micro_batch_size}} and {{accumulation_steps}}{hint}"
                )
        raise OtherBatchSizeError(
            f"the command does not train with the batch size {own} that it is given: "
            f"{contradiction}. Have it use that one; where it accumulates gradients or runs "
            f"on several devices, give {{micro_batch_size}} and {{accumulation_steps}}, or "
            f"{{world_size}} with --devices; where its "
            f"epochs are no passes over the data, have --pattern read its steps alone{hint}"
        )

    def _set(self, names: Sequence[str]) -> str:
        """Return those of the flags that the command or its code sets to more than 1."""
        return " and ".join(flags_set(self._command.arguments, self._command.place, names))

    def _refuse_what_cannot_be_followed(self, look: FirstLook) -> None:
        """Refuse a command that cannot be run, or whose metric was never seen after a step."""
        end = look.end
        if not end.was_asked and end.status is not Status.OK:
            said = " | ".join(end.last_lines[-4:-1])
            before = f" (before it: {said})" if said else ""
            raise WorkloadError(
                f"the command failed: {reason_text(end.reason).rstrip('.')}{before}"
            )
        if look.trained:
            return
        when = f"within {look.took_s:.0f} s" if look.is_cut else "before it ended"
        complaint = look.told.complaint()
        if complaint is None:
            complaint = f"{self._command.metric} was told before the first step alone"
        if look.told.names and look.needs_examples(self._command):
            complaint += ". Give --examples too, such as --examples 50000"
        if not look.readings and look.is_cut:
            complaint = _SILENCE.format(seconds=look.took_s)
        if end.left_behind is not None:
            complaint = reason_text(end.left_behind)
        if look.is_cut:
            complaint = f"{complaint.rstrip('.')}. With a larger --budget it is waited for longer"
        raise WorkloadError(f"the metric was not seen {when}: {complaint}")

    # ---- proof

    def _proven(self, first: FirstLook, examples: Span) -> Span:
        """Prove that the flags act, and return the fewest and the most examples."""
        has_seed, own = self._command.takes("seed"), self._command.batch_size
        again = self._compared("like the first", {}, first, _tells_losses)
        compared = LookComparison(first, again)
        if again is not None and not has_seed and compared.is_repeatable and compared.is_telling:
            raise UsageError(
                "two runs of the command gave the same numbers and it has no {seed}, so it "
                "cannot be told how much is chance; put {seed} where your script takes its "
                "seed, such as --seed {seed}"
            )
        if again is not None and not compared.is_repeatable and has_seed:
            self._warnings.append(
                "the same command with the same seed does not give the same numbers; the scatter "
                "that this adds is part of every interval"
            )
        other_size = 2 * own if 2 * own <= examples[0] else max(1, own // 2)
        unproven = []
        for flag, what, changed, text in self._questions(other_size):
            # The look at another batch size also compares epochs, so it is not ended early.
            is_enough = None if flag == "batch_size" else compared.is_seen
            look = self._compared(what, changed, first, is_enough)
            acts = True if look is None else compared.acts(look)
            if acts is False:
                raise UsageError(f"{{{flag}}} does not act: {text}")
            if acts is None:
                unproven.append(f"{{{flag}}}")
        if unproven:
            self._warnings.append(_unproven_text(unproven, compared))
        self._refuse_a_metric_of_the_batch(first, examples)
        other = self._at_another_size(other_size, first)
        return examples if other is None else self._examples_of_both(first, other, examples)

    def _questions(self, other_size: int) -> list[tuple[str, str, dict[str, float], str]]:
        """Return a row per flag: its name, that of its look, the changes, the text if it fails."""
        own, rate = self._command.batch_size, self._command.learning_rate or _NO_RATE
        other = rate / _RATE_FACTOR
        asked: list[tuple[str, str, dict[str, float], str]] = [
            (
                "seed",
                "with another seed",
                {"seed": 1},
                "two seeds gave the same numbers. Have the script seed its weights and the order "
                "of its examples with it, or leave {seed} out",
            ),
            (
                "learning_rate",
                "with another learning rate",
                {"learning_rate": other},
                f"{rate:g} and {other:g} gave the same numbers. Have the script use the rate that "
                f"it is given",
            ),
            (
                "batch_size",
                _ANOTHER_SIZE,
                {"batch_size": other_size},
                f"{own} and {other_size} gave the same numbers. Have the script use the batch size "
                f"that it is given",
            ),
        ]
        takes = self._command.takes
        return [row for row in asked if takes(row[0]) or row[0] == "batch_size"]

    def _refuse_longer_epochs(self, first: FirstLook, examples: Span) -> None:
        """Refuse epochs that take longer with larger batches, so are no passes over the data."""
        if not first.counts_only_epochs:
            return
        size = self._far_sizes(examples)[0]
        other = self._untrained(size, first)
        if other is None:
            self._unchecked.append("whether its epochs are passes over the data")
            return
        small, large = sorted((first, other), key=lambda look: look.trial.batch_size)
        times = large.epoch_s[0] / small.epoch_s[1]
        if times >= _LONGER_EPOCH:
            raise UsageError(
                f"an epoch takes at least {times:.1f} times as long with batch size "
                f"{large.trial.batch_size} as with {small.trial.batch_size}: it seems to have as "
                f"many steps at every batch size, so that equal epochs are not equal numbers of "
                f"examples. Have the script count its steps, as in batchlab.log(step=step, "
                f"{plain_name(self._command.metric)}=...), and give --examples"
            )

    def _refuse_a_metric_of_the_batch(self, first: FirstLook, examples: Span) -> None:
        """Refuse a metric that follows the batch size although nothing is trained."""
        own = self._command.batch_size
        if not self._command.takes("learning_rate") or len(first.trained) < _VALUES:
            return
        found: dict[int, list[float]] = {}
        points: dict[int, list[MetricPoint]] = {}
        for size in (own, *self._far_sizes(examples)):  # the last confirms what the others show
            look = self._untrained(size, first)
            if look is None:
                return
            found[size] = [value for value in look.trained if value is not None]
            points[size] = [point for point in look.told.points if point.step > 0]
            follows, moves = follows_size(found), moves_with_steps(points)
            if size != own and not (follows or moves):
                return
        if not follows:
            self._warnings.append(
                f"{self._command.metric} changes by as much in every step of a run that does not "
                f"train (learning rate near 0), as if a weight in it were warmed up by steps: "
                f"batch sizes can't be compared by it then; print it with its final weight"
            )
            return
        levels = [f"{found[size][0]:.4g} with batch size {size}" for size in sorted(found)]
        raise UsageError(
            f"{self._command.metric} depends on the batch size itself: with a learning rate near "
            f"0, so of a model that does not train, it is {listing(levels)}. Batch sizes can't be "
            f"compared by it. Have the script print its mean over all examples, not a sum over "
            f"batches, and evaluate with the same batch size every time; or name another metric"
        )

    def _far_sizes(self, examples: Span) -> list[int]:
        own = self._command.batch_size
        grows = own * _SIZE_FACTORS[0] <= examples[0]
        return [own * times if grows else own // times for times in _SIZE_FACTORS]

    def _untrained(self, size: int, first: FirstLook) -> FirstLook | None:
        """Return a beginning with a rate near 0, run only once.

        The result is None if there is no such batch size, no time, or no progress to be followed.
        """
        rate = self._command.learning_rate
        changed: dict[str, float] = {"batch_size": size}
        if rate is not None:
            changed["learning_rate"] = rate * _NO_TRAINING
        key = tuple(changed.items())
        limit_s = self._limit_s - self._spent_s
        if key not in self._looks and size and limit_s >= first.took_s:
            least_s = _TIMED_S if first.counts_only_epochs else 0.0
            self._looks[key] = None
            # What contradicts a batch size is told where it is trained.
            with suppress(ProgressError):
                self._looks[key] = self._looked(
                    f"without training, at batch size {size}", changed, limit_s, least_s=least_s
                )
        return self._looks.get(key)

    def _scaled_rate(self, first: FirstLook) -> str | None:
        """Return a warning if it prints rates that depend on the batch size, else None."""
        given, own = first.trial.learning_rate, first.trial.batch_size
        others = [look for look in self.looks if look.trial.batch_size != own]
        if not others or first.printed_rate is None or others[0].printed_rate is None:
            return None
        factor = others[0].printed_rate / others[0].trial.learning_rate
        if math.isclose(first.printed_rate, factor * given, rel_tol=_ROUNDING):
            return None
        return (
            f"the script does not train with the learning rate that it is given: it prints "
            f"{first.printed_rate:g} for {given:g} with batch size {own}, and another multiple "
            f"with {others[0].trial.batch_size}; the learning rates here are those that it is given"
        )

    # ---- examples

    def _examples(self, first: FirstLook) -> Span:
        """Return the given number, or that by the progress, with a second batch size if needed."""
        given = self._command.examples
        found = first.examples if given is None else (given, given)
        if found is None and first.within_epochs:
            look = self._at_another_size(2 * self._command.batch_size, first)
            if look is None:
                why = self._no_time_text() if self._unchecked else self._warnings[-1]
                raise UsageError(
                    f"{_NO_EXAMPLES}: {why}. Or give --examples, such as --examples 50000"
                )
            found = first.examples_beside(look)
        if found is None and not first.needs_examples(self._command):
            assumed = self._command.assumed_examples
            found = assumed, assumed
            what = "no epochs: what is called one here has {n} examples, and their number is"
            if first.counts_only_epochs:
                what = (
                    "epochs alone: each is taken for one pass over {n} examples, and numbers of "
                    "steps, their times and examples a second are"
                )
            self._warnings.append(
                f"its progress counts {what.format(n=assumed)} off by one factor, the same for all "
                f"batch sizes; --examples gives the true number"
            )
        if found is None:
            raise UsageError(
                f"{_NO_EXAMPLES}: its progress does not count both epochs and steps; give "
                f"--examples, such as --examples 50000"
            )
        return found

    def _examples_of_both(self, first: FirstLook, other: FirstLook, examples: Span) -> Span:
        """Return the fewest and the most examples that fit the progress at both batch sizes."""
        own, size = first.trial.batch_size, other.trial.batch_size
        one, two = first.examples, other.examples
        if one is None or two is None or size == own:
            return examples
        if self._command.examples is not None:
            if one[1] / own == two[1] / size:
                self._warnings.append(
                    f"an epoch has {one[1] / own:g} steps with batch size {own} and with {size} "
                    f"alike: {{batch_size}} does not shape its epochs, or its progress comes "
                    f"before their ends"
                )
            return examples
        fewest, most = max(one[0], two[0]), min(one[1], two[1])
        if fewest <= most:
            return fewest, most
        is_near = fewest - most <= max(size, own)  # a dropped last batch hides up to a batch
        if is_near or self._command.token_flag:  # batches of tokens are not quite full
            return one
        # A script that prints every 50 steps may seem to have epochs of 50 steps.
        raise UsageError(
            f"{_NO_EXAMPLES}: an epoch seems to have {one[1]} with batch size {own}, and {two[1]} "
            f"with {size}; if it has as many steps at every batch size, log them with "
            f"batchlab.log, else give --examples, such as --examples 50000"
        )


def _unproven_text(flags: list[str], compared: LookComparison) -> str:
    why = "the numbers of two equal beginnings differ by themselves"
    if compared.is_repeatable and compared.is_telling:
        why = "its numbers differ only later than two equal beginnings were compared"
    elif compared.is_repeatable:
        why = "the numbers of all beginnings are the same, and do not change along them"
    named = " and ".join(filter(None, [", ".join(flags[:-1]), flags[-1]]))
    act = "acts" if len(flags) == 1 else "act"
    return f"it could not be proven that {named} {act}: {why}"
