"""Reading: a position and values that a training printed; parsing of numbers and counters."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """The counters and the metric values that one line of progress printed.

    A counter is None if it was not printed. Values may be infinite or NaN. `ProgressPoints` turns
    the counters into a number of samples.
    """

    at_s: float  # When the line was printed, by `time.monotonic`.
    # The source of the line: `LineReader.shape` of the format that recognized a printed line, or
    # the path of the file that contains the line.
    shape: str
    # Optimizer steps since the start. A progress bar may count batches instead, several per step.
    step: int | None = None
    epoch: float | None = None  # Passes over the training data, whole or fractional.
    # Steps or examples since `epoch`, if the printed counter restarts in each epoch and has no
    # total.
    epoch_step: int | None = None
    epoch_samples: int | None = None
    epoch_number: int | None = None  # Number, from 0, of the epoch that is under way or just ended.
    is_below: bool = False  # True if the line has no counter, but shows the end of an epoch.
    samples: int | None = None  # Training examples seen so far.
    # The total of a counter that restarts in each epoch, in batches or examples. The total of any
    # progress bar that has not restarted yet is stored here too, because it may restart later.
    epoch_length: int | None = None
    values: tuple[tuple[str, float], ...] = ()  # Pairs (name as printed, number).
    split: str = ""  # The data of the values: `train`, `val` or `test`; empty if unknown.
    unsure: tuple[str, ...] = ()  # Names of values like 2,531, which may mean 2531 (used) or 2.531.
    complaint: str | None = None  # Why this line's counters do not show the position in the run.
    # The values, as `name=value`, that the script gave to `batchlab.log` and that are no numbers.
    not_understood: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Drop an epoch that is not finite, because it gives no position."""
        if self.epoch is not None and not math.isfinite(self.epoch):
            object.__setattr__(self, "epoch", None)

    @property
    def counters(self) -> tuple[float | None, ...]:
        """The counters of samples, steps and epochs; None for each counter that was not printed."""
        return self.samples, self.step, self.epoch, self.epoch_step, self.epoch_samples

    @property
    def has_position(self) -> bool:
        """Whether the reading says how far the training is."""
        return self.step is not None or self.epoch is not None or self.samples is not None


class LineReader:
    """A reader of one format of progress lines; it gets the lines of one run in order.

    Attributes:
        shape: the name of the format in its readings.
        needles: lower-case texts; each line of the format contains at least one of these texts.
        metric: the requested metric, in lower case; empty without a metric.
        is_open: whether a line without a needle may continue earlier lines, as a table row does.
    """

    shape: ClassVar[str]
    needles: ClassVar[tuple[bytes, ...]]
    metric: str = ""
    is_open: bool = False

    def read(self, line: str, at_s: float) -> list[Reading] | None:
        """Return the readings that a line completes, or None if the line is not of this format."""
        raise NotImplementedError

    def finish(self) -> list[Reading]:
        """Return, at the end of the run, the readings that still wait for a later line."""
        return []


SPLIT_WORD = re.compile(
    r"(?<![\w./\-])(?i:(?P<train>train(?:ing|_inner)?)|(?P<test>test(?:ing)?)|"
    r"(?P<val>val(?:id(?:at(?:ion|ing|e))?)?|eval(?:uat(?:ion|ing|e))?|dev|cv))(?![\w./\-]*\w)"
)
"""A word that says on which data the value after it was measured."""


def split_of(text: str) -> str:
    """Return the data split that a text mentions last: `train`, `val`, `test`, or ""."""
    split = ""
    for word in SPLIT_WORD.finditer(text):
        split = str(word.lastgroup)
    return split


# Names of numbers about the machine, such as durations, which differ even between equal runs.
_OF_MACHINE = re.compile(
    r"(?:.*[^a-z])?(?:time|runtime|took|elapsed|duration|dur|eta|wall|dt|ms|secs?|seconds?)"
    r"(?:[^a-z]+(?:cost|used|taken|spent|consumed|elapsed|m?s|secs?|seconds|min|per[^a-z].*))*[^a-z]*"
    r"|.*[a-z]/s|.*per_s(?:ec)?|data|pid|(?:batch|data|reader)[_ ]cost"
    r"|(?:.*[^a-z])?(?:speed|throughput|fps|mfu|ups|wps|ips|mem|memory|allocated)(?:[^a-z].*)?"
)


@lru_cache(maxsize=1000)
def is_of_machine(name: str) -> bool:
    """Return whether a number with this name is about the machine, such as a duration or speed."""
    return _OF_MACHINE.fullmatch(name.lower()) is not None


ONE_FOLD = (
    "if one run trains several models, make it train one, as with --runs 1, or one fold; if it "
    "trains one, log a counter that only rises with batchlab.log"
)
"""The advice to the user if printed counters restart."""


class Counters:
    """Converts the counters that a run prints, such as steps, to positions in the run.

    - A script may print both epoch numbers that start at 1 with a total ("Epoch 1/5"), and epoch
      numbers that start at 0 without a total ("epoch=0").
    - Epoch numbers may restart with another total, as after training with frozen layers. Then the
      new epochs are added to the earlier ones. If they restart with the same total, the script may
      be training another model, so `complaint` is set.
    - A line with an epoch number, but no step or sample counter, is at the end of that epoch.
    - If the script also prints fractions of epochs, each printed epoch counts the passes done.
    - If a step counter does not rise when the epoch rises, it restarts in each epoch.
    - If the total steps rise by the same amount in each epoch, the lines are at the ends of epochs.
    """

    def __init__(self) -> None:
        # The number of the first epoch printed with a total ("1/10"), and of the first without.
        self._first: dict[bool, int] = {}
        self._n_epochs: int | None = None
        self._epoch_in_count = 0
        self._lengths: list[int] = []  # The number of epochs counted before each restart.
        self.complaint: str | None = None  # Why further epoch numbers can't be understood.
        self._epoch: int | None = None  # The number of the current epoch, counted from 0.
        self.has_fractions = self._inside_epoch = False
        self._restarted: set[str] = set()  # Counters that restart in each epoch.
        # For each counter: the last epoch with the counter, and the first and last count in it.
        self._last: dict[str, tuple[int, int, int]] = {}
        self._steps_an_epoch: float | None = None
        self._at_ends = True
        # The number of steps and of examples at the last line that printed both.
        self._counted = (0, 0)
        self._samples_a_step = 0.0

    def epoch_number(self, printed: int, total: int | None) -> int:
        """Return the number, from 0, of an epoch that was printed as `printed` (of `total`)."""
        has_total = total is not None
        if has_total not in self._first:
            first = min(printed, self._first.get(not has_total, 1))
            # The first number without a total ("epoch=0") after numbers with one ("Epoch 1/5"), or
            # the reverse, is assumed to name the same epoch as the last number of the other kind.
            if self._first and printed - self._epoch_in_count in (0, 1):
                first = printed - self._epoch_in_count
            self._first[has_total] = first
        number, before = printed - self._first[has_total], self._n_epochs
        if (
            number == 0
            and None not in (before, total)
            and (self._epoch_in_count or total != before)
        ):
            self._lengths.append(self._epoch_in_count + 1)
            is_as_long = len(self._lengths) > 1 and len({*self._lengths}) == 1
            if total == before or is_as_long:
                self.complaint = f"epoch {printed} came again: {ONE_FOLD}"
        self._epoch_in_count, self._n_epochs = number, total or before
        return sum(self._lengths) + number

    def begin_epoch(self, number: int, n_epochs: int | None) -> None:
        """Record the epoch that a line without values announces."""
        self.number(number, n_epochs)
        self._inside_epoch = True

    def placed(
        self,
        printed: Reading,
        *,
        n_steps: int | None = None,
        part: tuple[int, int] | None = None,
        n_epochs: int | None = None,
    ) -> Reading:
        """Return a copy of a reading with its position in the run instead of the printed counters.

        An epoch of type int is the number of the epoch, and an epoch of type float is the number of
        passes over the data. `n_steps` is the total that the line prints for its step counter, and
        `part` is a count within the epoch and its total. A line without a counter is placed at the
        end of the epoch if the lines before it were inside the epoch.
        """
        step, epoch = printed.step, printed.epoch
        if epoch is not None and self.has_fractions:
            # The script prints fractions of epochs, such as 0.85, so its 1 means one pass.
            epoch = float(epoch)
        samples = self._samples_at(step, printed.samples)
        number = self.number(epoch, n_epochs)
        bare = replace(
            printed,
            step=None,
            epoch=None,
            samples=None,
            epoch_number=number,
            complaint=self.complaint,
        )
        if samples is not None:
            bare = replace(bare, step=step)
            if number is None:
                return replace(bare, samples=samples, epoch=epoch)
            return self._at_count(bare, "samples", samples, None, number)
        if part is not None and number is not None:
            self._inside_epoch = True
            return replace(bare, epoch=number + part[0] / part[1], epoch_length=part[1])
        if step is not None and (number is None or isinstance(epoch, float)):
            return replace(bare, step=step, epoch=epoch)
        if step is not None:
            assert number is not None
            return self._at_count(bare, "step", step, n_steps, number)
        is_below = epoch is None and self._inside_epoch and number is not None
        self._inside_epoch = self._inside_epoch and epoch is None
        if number is not None and (is_below or isinstance(epoch, int)):
            epoch = number + 1
        return replace(bare, epoch=epoch, is_below=is_below)

    def number(self, epoch: float | None, n_epochs: int | None) -> int | None:
        """Return the current epoch's number, from 0; None if unknown or if epochs are fractions."""
        if isinstance(epoch, float):
            self.has_fractions = self.has_fractions or not epoch.is_integer()
        elif epoch is not None:
            self._epoch = self.epoch_number(epoch, n_epochs)
        return None if self.has_fractions else self._epoch

    def _samples_at(self, step: int | None, samples: int | None) -> int | None:
        """Return the samples seen at a step: as printed, or else extrapolated from earlier lines.

        Steps × batch size is not used, because a batch may grow during the training.
        """
        last_step, last_samples = self._counted
        if step is None or step < last_step:
            return samples
        if samples is None and not self._samples_a_step:
            return None
        if samples is None:
            return last_samples + round((step - last_step) * self._samples_a_step)
        if step > last_step:
            self._samples_a_step = (samples - last_samples) / (step - last_step)
        self._counted = step, samples
        return samples

    def _at_count(
        self, bare: Reading, counter: str, count: int, total: int | None, number: int
    ) -> Reading:
        last_number, first, last = self._last.get(counter, (number, count, count))
        if number > last_number:
            # While gradients are accumulated, a count may be unchanged without a restart.
            if count < last or count == first == last:
                self._restarted.add(counter)
            first = count
        self._last[counter] = number, first, count
        starts_again = counter in self._restarted
        self._inside_epoch = starts_again or count == total
        place: dict[str, Any] = {counter: count, "epoch": self.passes_at_end(count, number)}
        if starts_again and total is not None:
            place = {counter: number * total + count, "epoch_length": total}
        elif starts_again:
            place = {f"epoch_{counter}": count, "epoch": number}
        return replace(bare, **place)

    def passes_at_end(self, step: int, number: int) -> int | None:
        """Return the passes over the data if lines are printed at the ends of epochs, else None.

        The newest line has `step` (steps or samples since the start) and the epoch `number`, from
        0. Lines are at the ends of epochs if there are at least two, and `step` divided by the
        number of epochs is equal in all.
        """
        if number < 0:
            return None
        n_steps, before = step / (number + 1), self._steps_an_epoch
        self._at_ends = self._at_ends and before in (None, n_steps) and n_steps >= 1
        self._steps_an_epoch = n_steps
        if before is None or number == 0 or not self._at_ends:
            return None
        return number + 1


# Names of step counters are in the singular, because "steps: 1000" is the planned number of steps.
COUNTERS = {
    **dict.fromkeys(("step", "_step", "global_step", "iteration", "iter", "it"), "step"),
    **dict.fromkeys(("num_updates", "update"), "step"),
    **dict.fromkeys(("samples", "samples_seen", "examples", "examples_seen"), "samples"),
    # Megatron prints the first two names, and reinforcement learning libraries the last two.
    **dict.fromkeys(("consumed_samples", "consumed_train_samples"), "samples"),
    **dict.fromkeys(("total_timesteps", "timesteps_total"), "samples"),
    **dict.fromkeys(("epoch", "epoche"), "epoch"),
}
"""What a printed counter counts ("step", "samples" or "epoch"), by the name of the counter."""
# These words may precede a counter in a line of plain text, as in "Train Epoch: 3" and "validation
# loss at iteration 3".
_BEFORE = re.compile(
    r"(?:.*\b(?:at|after|for|of) )?(?:(?:train|training|global|current|completed) )*"
)
# In plain text, but not in structured lines, these names count steps too.
_SPOKEN_COUNTERS = {
    **COUNTERS,
    **dict.fromkeys(("iters", "batch", "mini-batch", "minibatch", "micro_step"), "step"),
}


@lru_cache(maxsize=1000)
def spoken_kind(name: str) -> str | None:
    """Return what a counter in plain text counts: "step", "epoch", "samples"; else None."""
    plain = _BEFORE.sub("", name.lower().strip(), count=1).replace(" ", "_")
    return _SPOKEN_COUNTERS.get(plain)


@lru_cache(maxsize=1000)
def rank_of(name: str) -> int:
    """Return the rank of a step counter; in a line with several, the highest rank gives the step.

    An `iter`, a `batch` or a `micro_step` may count the micro-batches of a step, so its rank is 0.
    """
    plain = name.lower()
    is_update = re.search(r"(?<!micro_)step|update", plain) is not None
    return 2 if "global" in plain else int(is_update)


# Commas before every group of three digits separate thousands if the number does not begin with 0.
# Any other comma between digits is a decimal comma.
_THOUSANDS = r"[1-9]\d{0,2}(?:,\d{3})+(?!,?\d)"
# The group is atomic, so that no pattern matches only a part of a number, such as 0.4 in "0.41s".
NUMBER = (
    rf"(?>[-+]?(?:{_THOUSANDS}(?:\.\d*)?"
    r"|(?:\d+(?:\.\d*|,\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
    r"|(?i:nan|inf(?:inity)?)\b))"
)
_IN_THOUSANDS = re.compile(rf"[-+]?{_THOUSANDS}(?:\.\d*)?")
_EITHER = re.compile(r"[-+]?[1-9]\d{0,2},\d{3}")


def number_of(text: str) -> float | None:
    """Convert a text to a number, or return None if it is not a number.

    A comma separates thousands where possible (`1,234`), and else is a decimal comma (`0,53`).
    """
    text = text.strip().rstrip(",")
    if _IN_THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    try:
        return float(text.replace(",", ".", 1))
    except ValueError:
        return None


def sure_number_of(text: str) -> float | None:
    """Convert a text to a number; return None if it is no number, or its comma is ambiguous."""
    return None if _EITHER.fullmatch(text) else number_of(text)


def count_of(text: str) -> int | None:
    """Convert a text to a whole number of at least 0, or return None if it is no such number."""
    number = number_of(text)
    if number is None or not 0 <= number < 1e18 or number != int(number):
        return None
    return int(number)


def epoch_of(text: str) -> float | None:
    """Convert "3" to the number of an epoch (int), and "0.85" to the passes done (float).

    Return None if the text is no number.
    """
    return count_of(text) if text.isdigit() else number_of(text)


NamedValues = tuple[tuple[tuple[str, float], ...], tuple[str, ...]]
"""(name, value) pairs, and the names of values with an ambiguous comma."""


def values_of(printed: Iterable[tuple[str, str, str | None]]) -> NamedValues:
    """Return the values of one line by their names, and the names of ambiguous values.

    A value with a total is divided by the total: `9000/10000` is 0.9. `2,531` is read as 2531 and
    is ambiguous.
    """
    values: dict[str, float] = {}
    unsure = []
    for name, text, total in printed:
        number, whole = number_of(text), number_of(total or "1")
        if number is None or not whole:
            continue
        values[name] = number / whole
        if total is None and _EITHER.fullmatch(text):
            unsure.append(name)
    return tuple(values.items()), tuple(unsure)
