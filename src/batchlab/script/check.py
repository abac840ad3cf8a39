"""CommandCheck: does a command train, and do its flags act? Found out before any budget."""

from __future__ import annotations

import math
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from batchlab.errors import BatchSizeError, UsageError, WorkloadError
from batchlab.records.estimate import Reason
from batchlab.records.study import MetricSummary, WorkloadSummary
from batchlab.records.trial import Status, Trial
from batchlab.script.command import NAMES, TrainingCommand, Value
from batchlab.script.flags import plain_flag
from batchlab.script.follow import FollowedTraining
from batchlab.script.metric import ProgressPoints
from batchlab.script.process import CommandEnd
from batchlab.script.reading import Reading
from batchlab.words.reasons import reason_text

# Values of the metric after the first step that a look waits for: of one alone it might be chance
# that two trainings print the same.
_VALUES = 2
_GRACE_S = 5.0
# A command that names no rate has one of its own: the same in all trials.
_NO_RATE = 1.0
# Epochs are printed with a few digits.
_ROUNDING = 1e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class FirstLook:
    """What the beginning of a training showed.

    Attributes:
        batch_size: with which it was run.
        told: where it was, and its metric.
        readings: all of its progress.
        start_s: seconds from its start to its first progress; None: there was none.
        took_s: seconds of the whole look.
        end: how it ended.
    """

    batch_size: int
    told: ProgressPoints
    readings: tuple[Reading, ...]
    start_s: float | None
    took_s: float
    end: CommandEnd

    @property
    def trained(self) -> list[float | None]:
        """The values of the metric after the first step, one a step."""
        return _trained(self.told)

    @property
    def is_cut(self) -> bool:
        """Whether the time for the look ended before enough was seen."""
        return self.end.was_asked and len(self.trained) < _VALUES

    @property
    def examples(self) -> tuple[int, int] | None:
        """The fewest and the most training examples that its progress allows.

        Where steps are counted and not examples, the last batch of an epoch may be any size.

        None: it does not count both epochs and steps or examples.
        """
        # A bar over the whole training looks like one of an epoch; what tells the metric knows it.
        first = self.told.first
        told = [each for each in self.readings if first and each.shape == first.shape]
        for reading in (*reversed(told), *reversed(self.readings)):
            if reading.epoch and reading.samples:
                exact = round(reading.samples / reading.epoch)
                return exact, exact
            if reading.epoch and reading.step:
                return _in_steps(reading.step / reading.epoch, self.batch_size)
            if reading.epoch is None and reading.step and reading.epoch_length:
                return _in_steps(reading.epoch_length, self.batch_size)
        return None

    def examples_beside(self, other: FirstLook) -> tuple[int, int] | None:
        """The same from a counter within the epoch, such as [640/60000], of two batch sizes.

        Nothing says what such a counter counts. Examples are as many for both batch sizes and come
        by the batch; of batches there are fewer where the batch is larger.

        None: there is no such counter, or it is neither of the two.
        """
        if not (self.counts_within_epochs and other.counts_within_epochs):
            return None
        length, other_length = self._within_epochs[-1][1], other._within_epochs[-1][1]
        if length == other_length:
            come_by_the_batch = self._counts_by_the_batch and other._counts_by_the_batch
            return (length, length) if come_by_the_batch else None
        fewest, most = _in_steps(length, self.batch_size)
        other_fewest, other_most = _in_steps(other_length, other.batch_size)
        fewest, most = max(fewest, other_fewest), min(most, other_most)
        return (fewest, most) if fewest <= most else None

    @property
    def counts_within_epochs(self) -> bool:
        """Whether there is a counter within the epoch of which nothing says what it counts."""
        return bool(self._within_epochs)

    @property
    def _within_epochs(self) -> list[tuple[int, int]]:
        """Such a counter, and what it runs to."""
        return [
            (round(each.epoch % 1 * each.epoch_length), each.epoch_length)
            for each in self.readings
            if each.epoch is not None and each.epoch_length and each.step is None
        ]

    @property
    def _counts_by_the_batch(self) -> bool:
        """Whether the counter within the epoch rises by whole batches of examples."""
        counted = {count for count, _ in self._within_epochs}
        # The last batch of an epoch may be smaller, and is printed at times.
        return len(counted) > 1 and sum(bool(count % self.batch_size) for count in counted) <= 1


def _trained(told: ProgressPoints) -> list[float | None]:
    return list({point.step: point.value for point in told.points if point.step > 0}.values())


def _in_steps(steps: float, batch_size: int) -> tuple[int, int]:
    """Examples of an epoch with so many steps; a part of a step is a part of a batch."""
    whole = round(steps)
    if abs(steps - whole) > _ROUNDING * steps:
        return round(steps * batch_size), round(steps * batch_size)
    return (whole - 1) * batch_size + 1, whole * batch_size


def first_look(
    command: TrainingCommand,
    values: Mapping[str, Value | None],
    *,
    folder: Path,
    marker: str,
    limit_s: float,
) -> FirstLook:
    """Run a command until its metric was seen a few times, and end it.

    Raises:
        ProgressError: its progress contradicts itself.
    """
    began_s = time.monotonic()
    trial = _trial_of(command, values)
    told = ProgressPoints(command.metric, trial)
    seen: list[Reading] = []
    is_asked = False

    def take(readings: Sequence[Reading]) -> bool:
        nonlocal is_asked
        for reading in () if is_asked else readings:
            seen.append(reading)
            told.add(reading)
        is_late = time.monotonic() - began_s >= limit_s
        is_asked = is_asked or is_late or len(_trained(told)) >= _VALUES
        return is_asked

    with FollowedTraining(
        command, values, folder=folder, marker=marker, grace_s=min(_GRACE_S, limit_s / 4)
    ) as training:
        end = training.follow(take)
    return FirstLook(
        batch_size=trial.batch_size,
        told=told,
        readings=tuple(seen),
        start_s=seen[0].at_s - began_s if seen else None,
        took_s=time.monotonic() - began_s,
        end=end,
    )


def _trial_of(command: TrainingCommand, values: Mapping[str, Value | None]) -> Trial:
    """What a look trains; the number of its examples may not be known yet."""
    batch_size = values["batch_size"]
    assert isinstance(batch_size, int)
    return Trial(
        workload_id=command.name,
        workload=command.name,
        n_train=command.examples or batch_size,
        batch_size=batch_size,
        learning_rate=command.learning_rate or _NO_RATE,
        seed=0,
    )


# What tells of the machine differs from run to run, whatever the flags do.
_OF_MACHINE = re.compile(
    r"(?<![a-z])(time|runtime|secs?|seconds?|ms|eta|elapsed|took|dt|wall|speed|throughput|fps|mfu|"
    r"ups|wps|ips|mem|memory|allocated)(?![a-z])|/s$|per_s(ec)?$",
    re.IGNORECASE,
)
# A script prints what it was given, which does not say that it uses it.
_GIVEN = {
    *(plain_flag(name) for names in NAMES.values() for name in names),
    "micro_batch_size",
    "accumulation_steps",
}
_METRIC = "the metric"
_Place = tuple[str, object]
_Numbers = dict[str, dict[_Place, float]]


class LookComparison:
    """Two beginnings with the same arguments, with which others are compared.

    All numbers count that a script prints, for its metric may be rounded to what all runs share.
    What differs between the two by itself tells nothing of a flag.

    Attributes:
        is_repeatable: whether the two tell the very same.
        is_telling: whether anything changes along a training, so that equal numbers mean something.
    """

    def __init__(self, first: FirstLook, again: FirstLook | None) -> None:
        """Compare the two.

        Without the other, nothing is taken to differ by itself.
        """
        known = _numbers(first)
        twin = known if again is None else _numbers(again)
        self._steady = {
            name: told for name, told in known.items() if not _differ(name, known, twin)
        }
        self.is_repeatable = len(self._steady) == len(known)
        self.is_telling = any(_changes(told.values()) for told in self._steady.values())

    def acts(self, look: FirstLook) -> bool | None:
        """Whether another beginning differs because of its arguments; None: it can't be told."""
        told = _numbers(look)
        if any(_differ(name, self._steady, told) for name in self._steady):
            return True
        return False if self.is_repeatable and self.is_telling else None


def _numbers(look: FirstLook) -> _Numbers:
    """Each number that tells of the training, by its name and where it was told."""
    found: _Numbers = defaultdict(dict)
    for index, value in enumerate(look.trained):
        assert value is not None
        found[_METRIC]["value", index] = value  # steps of other batch sizes are other places
    for reading in look.readings:
        place = (reading.step, reading.samples, reading.epoch, reading.epoch_step)
        for name, value in reading.values:
            if _OF_MACHINE.search(name) is None and plain_flag(name) not in _GIVEN:
                found[f"{reading.shape} {name}"].setdefault((name, place), value)
    return found


def _differ(name: str, ones: _Numbers, others: _Numbers) -> bool:
    """Whether a number was told twice for one place, and not the same."""
    one, other = ones[name], others.get(name, {})
    return any(not _is_same(one[place], other[place]) for place in one.keys() & other.keys())


def _is_same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def _changes(values: Iterable[float]) -> bool:
    return len({repr(value) for value in values}) > 1


_SILENCE = (
    "The script runs, and has printed nothing for {seconds:.0f} s. It may keep its output in a "
    "buffer. PYTHONUNBUFFERED=1 is set, which helps where Python prints. Elsewhere try python -u, "
    "print(..., flush=True), or stdbuf -oL before the command."
)
# A rate so many times smaller shows in any curve that a rate shapes.
_RATE_FACTOR = 8.0
# The first look waits longest: for the slowest start, when nothing is in any cache.
_FIRST_SHARE = 0.5
# What a script is told to take that is ended after a look.
_EPOCHS = 1000
_STEPS = 10**6


class CommandCheck:
    """The check of one command."""

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
        """Nothing was run yet.

        All of it may take `limit_s` seconds; `left_s` is what is left of the budget.
        """
        self._command = command
        self._workload_id = workload_id
        self._folder = folder
        self._limit_s = limit_s
        self._left_s = left_s
        self._tell = tell
        self._spent_s = 0.0
        self._warnings: list[str] = []
        self._at_sizes: dict[int, FirstLook | None] = {}

    def summary(self, *, proves: bool) -> WorkloadSummary:
        """Run the beginnings; what was found, with what is odd or could not be told as warnings.

        Raises:
            WorkloadError: it does not train, or its metric is never seen.
            UsageError: a flag does not act, or the number of examples is not known.
            ProgressError: its progress contradicts itself.
        """
        share = _FIRST_SHARE if proves else 1.0
        first = self._looked(self._now_text(), {}, share * self._limit_s)
        self._refuse_failure(first)
        self._refuse_silence(first)
        given = self._command.examples
        found = first.examples if given is None else (given, given)
        found = found or self._examples_within_epochs(first)
        if found is None:
            raise UsageError(
                "how many training examples there are is not known: its progress does not count "
                "both epochs and steps; give --examples, such as --examples 50000"
            )
        fewest, most = found
        if self._command.batch_size > most:
            raise BatchSizeError(
                f"batch size {self._command.batch_size} of this command: expected 1 to {most}, the "
                f"size of its training set; give --batch-size, the one you train with now"
            )
        if proves:
            fewest, most = self._proven(first, found)
        if fewest < most:
            self._warnings.append(
                f"there are {fewest} to {most} training examples, by the steps of an epoch; "
                f"{fewest} is taken, and --examples gives the exact number"
            )
        if first.told.not_understood:
            told = ", ".join(first.told.not_understood)
            self._warnings.append(reason_text(Reason.of("log_not_understood", told=told)))
        self._tell(first.told.text().rstrip("."))
        command = self._command
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
        )

    def _now_text(self) -> str:
        now = f"as you train now, at batch size {self._command.batch_size}"
        rate = self._command.learning_rate
        return now if rate is None else f"{now} and learning rate {rate:g}"

    # ---- one beginning

    def _looked(self, what: str, changed: dict[str, Value], limit_s: float) -> FirstLook:
        self._tell(f"checking the command: {what}")
        number = len(list(self._folder.glob("*"))) if self._folder.exists() else 0
        found = first_look(
            self._command,
            {**self._own_values(), **changed},
            folder=self._folder / str(number),
            marker=f"{self._workload_id}/check",
            limit_s=max(1.0, min(limit_s, self._left_s())),
        )
        self._spent_s += found.took_s
        return found

    def _own_values(self) -> dict[str, Value | None]:
        command = self._command
        return {
            "batch_size": command.batch_size,
            "micro_batch_size": command.batch_size,
            "accumulation_steps": 1,
            "learning_rate": command.learning_rate,
            "seed": 0,
            "epochs": command.epochs or _EPOCHS,
            "steps": _STEPS,
            "resume_from": None,
        }

    def _refuse_failure(self, look: FirstLook) -> None:
        """Refuse a command that cannot be run at all."""
        if look.end.was_asked or look.end.status is Status.OK:
            return
        said = " | ".join(look.end.last_lines[-4:-1])
        before = f" (before it: {said})" if said else ""
        raise WorkloadError(
            f"the command failed: {reason_text(look.end.reason).rstrip('.')}{before}"
        )

    def _refuse_silence(self, look: FirstLook) -> None:
        """Refuse a command whose metric was never seen after a step."""
        if look.trained:
            return
        when = f"within {look.took_s:.0f} s" if look.is_cut else "before it ended"
        complaint = look.told.complaint()
        if complaint is None:
            complaint = f"{self._command.metric} was told before the first step alone"
        if not look.readings and look.is_cut:
            complaint = _SILENCE.format(seconds=look.took_s)
        if look.end.left_behind is not None:
            complaint = reason_text(look.end.left_behind)
        if look.is_cut:
            complaint = f"{complaint.rstrip('.')}. With a larger --budget it is waited for longer"
        raise WorkloadError(f"the metric was not seen {when}: {complaint}")

    # ---- proof

    def _proven(self, first: FirstLook, examples: tuple[int, int]) -> tuple[int, int]:
        """The fewest and the most examples, when all flags act."""
        has_seed, own = self._command.takes("seed"), self._command.batch_size
        again = self._compared("the same again", {}, first)
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
        for flag, look, text in self._changed(first, other_size):
            acts = True if look is None else compared.acts(look)
            if acts is False:
                raise UsageError(f"{flag} does not act: {text}")
            if acts is None:
                unproven.append(flag)
        if unproven:
            self._warnings.append(_unproven_text(unproven, compared))
        other = self._at(other_size, first)
        return examples if other is None else self._examples_of_both(first, other, examples)

    def _changed(
        self, first: FirstLook, other_size: int
    ) -> Iterator[tuple[str, FirstLook | None, str]]:
        """For each flag a beginning with another value, and what to say if that is the same."""
        own, rate = self._command.batch_size, self._command.learning_rate
        if self._command.takes("seed"):
            yield (
                "{seed}",
                self._compared("with another seed", {"seed": 1}, first),
                "two seeds gave the same numbers. Have the script seed its weights and the order "
                "of its examples with it, or leave {seed} out",
            )
        if rate is not None:
            other = rate / _RATE_FACTOR
            yield (
                "{learning_rate}",
                self._compared("with another learning rate", {"learning_rate": other}, first),
                f"{rate:g} and {other:g} gave the same numbers. Have the script use the rate that "
                f"it is given",
            )
        yield (
            "{batch_size}",
            self._at(other_size, first),
            f"{own} and {other_size} gave the same numbers. Have the script use the batch size "
            f"that it is given",
        )

    def _at(self, size: int, first: FirstLook) -> FirstLook | None:
        """A beginning with another batch size: one for all that is asked of it."""
        if size not in self._at_sizes:
            changed: dict[str, Value] = {"batch_size": size, "micro_batch_size": size}
            self._at_sizes[size] = self._compared("with another batch size", changed, first)
        return self._at_sizes[size]

    # ---- examples

    def _examples_within_epochs(self, first: FirstLook) -> tuple[int, int] | None:
        """By a counter within the epoch whose unit shows beside another batch size."""
        if not first.counts_within_epochs:
            return None
        own = self._command.batch_size
        look = self._at(2 * own, first)
        if look is None:
            raise UsageError(
                f"how many training examples there are is not known: {self._warnings[-1]}. Or give "
                f"--examples, such as --examples 50000"
            )
        return first.examples_beside(look)

    def _examples_of_both(
        self, first: FirstLook, other: FirstLook, examples: tuple[int, int]
    ) -> tuple[int, int]:
        """The fewest and the most by both batch sizes."""
        given, size = self._command.examples, other.batch_size
        one, two = first.examples, other.examples
        if one is None or two is None or size == self._command.batch_size:
            return examples
        if given is None:
            return self._agreed(one, two, size)
        contradiction = self._contradiction(given, one, two, size)
        if contradiction is not None:
            self._warnings.append(contradiction)
        return examples

    def _contradiction(
        self, given: int, one: tuple[int, int], two: tuple[int, int], size: int
    ) -> str | None:
        """What is odd about the examples of an epoch at two batch sizes; None: nothing."""
        own = self._command.batch_size
        if one[1] / own == two[1] / size:
            return (
                f"an epoch has {one[1] / own:g} steps with batch size {own} and with {size} alike: "
                f"{{batch_size}} does not shape its epochs, or its progress comes before their ends"
            )
        # A script may leave out the smaller last batch of an epoch.
        if one[0] <= given < one[1] + own or two[0] <= given < two[1] + size:
            return None
        return (
            f"--examples {given}: by its progress an epoch has {_span_text(one)} examples with "
            f"batch size {own}, and {_span_text(two)} with {size}; check the number, and whether a "
            f"step is one batch of {{batch_size}}"
        )

    def _agreed(
        self, one: tuple[int, int], other: tuple[int, int], batch_size: int
    ) -> tuple[int, int]:
        """What two batch sizes allow; one that leaves out odd remainders may tell a batch less."""
        fewest, most = max(one[0], other[0]), min(one[1], other[1])
        if fewest <= most:
            return fewest, most
        if fewest - most <= max(batch_size, self._command.batch_size):
            return one
        # A script that prints every 50 steps may seem to have epochs of 50 steps.
        raise UsageError(
            f"how many training examples there are is not known: its progress tells {one[1]} with "
            f"batch size {self._command.batch_size}, and {other[1]} with {batch_size}; give "
            f"--examples, such as --examples 50000"
        )

    def _compared(self, what: str, changed: dict[str, Value], first: FirstLook) -> FirstLook | None:
        """Another beginning as long as the first; None: there is no time for one, or it failed."""
        left_s = self._limit_s - self._spent_s
        if left_s < first.took_s:
            self._warnings.append(
                f"there was no time to check the command {what}; a larger --budget has it checked"
            )
            return None
        look = self._looked(what, changed, min(left_s, 3 * first.took_s + 5.0))
        if not look.trained:
            why = "its metric was not seen in time"
            if not look.end.was_asked and look.end.reason is not None:
                why = reason_text(look.end.reason).rstrip(".")
            self._warnings.append(f"the command could not be checked {what}: {why}")
            return None
        return look


def _unproven_text(flags: list[str], compared: LookComparison) -> str:
    why = (
        "the numbers of all beginnings are the same, and do not change along them"
        if compared.is_repeatable
        else "the numbers of two equal beginnings differ by themselves"
    )
    named = " and ".join(filter(None, [", ".join(flags[:-1]), flags[-1]]))
    act = "acts" if len(flags) == 1 else "act"
    return f"it could not be proven that {named} {act}: {why}"


def _span_text(examples: tuple[int, int]) -> str:
    fewest, most = examples
    return str(most) if fewest == most else f"{fewest} to {most}"
