"""ProgressPoints: the requested metric of a run, recognized by name in the printed progress."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import islice

from batchlab.errors import OtherBatchSizeError, ProgressError
from batchlab.records.trial import Trial
from batchlab.script.formats import LOG_SHAPE, LinePattern
from batchlab.script.reading import ONE_FOLD, Reading
from batchlab.script.trained_size import TrainedSize

_WORDS = {
    **dict.fromkeys(("eval", "evaluation", "valid", "validation", "dev"), "val"),
    "training": "train",
    "acc": "accuracy",
    "err": "error",
}
BATCH_LOSSES = ("train_loss", "loss")
"""Names that scripts use for the loss of training batches, in the spelling of `plain_name`."""


def _is_near(asked: str, name: str) -> bool:
    """Return whether a printed name may mean the requested metric `asked`."""
    if name != asked and name.lower() == asked.lower():
        # A name with capitals must match exactly: a script may print both `PSNR` and `psnr`.
        return asked.islower()
    wanted = plain_name(asked)
    if name == asked or plain_name(name) in (wanted, f"val_{wanted}"):
        return True
    group, _, name_in_group = name.rpartition("/")  # "rollout" in rollout/ep_rew_mean is a group
    return plain_name(name_in_group) == wanted and not plain_name(group).startswith("train")


def _of_kind(name: str, kind: str) -> str:
    """Return a name with its data split `kind` in front, unless the name begins with `kind`."""
    return name if plain_name(name).startswith(kind) else f"{kind} {name}"


def _kind_of(reading: Reading, name: str) -> str:
    """Return which data a value was measured on: `val`, `test`, `train`, or `epoch` if unclear."""
    first_word = plain_name(name).partition("_")[0]
    if first_word in ("val", "test"):
        return first_word
    kind = reading.split or "train"
    if kind != "train" or reading.shape != "words" or plain_name(name) in BATCH_LOSSES:
        return kind
    finer = {reading.step, reading.epoch_step, reading.epoch_samples, reading.epoch_length}
    return "epoch" if reading.epoch is not None and finer == {None} else kind


@lru_cache(maxsize=1000)
def plain_name(name: str) -> str:
    """Return a metric name in a normal form for comparison: `Final Eval/Acc` is `val_accuracy`."""
    # LightGBM numbers its validation sets, as in "valid_0's auc": leave the number out.
    words = re.findall(r"[a-z0-9]+", re.sub(r"\bvalid_\d+'s\b", "valid", name.lower()))
    return "_".join(_WORDS.get(word, word) for word in words if word != "final")


# A metric that changes like a power of the batch size is refused if the exponent is above this
# number or below its negative. A loss over all pairs of examples in a batch is about log(batch
# size), which changes like a power with the exponent 1 / log(batch size).
_LEAST_POWER = 0.1
# Values below this, such as an accuracy of 1 %, are not compared: their ratios are mostly noise.
_LEAST_VALUE = 0.05
# Compare two batch sizes only if the values at each of them differ by at most this fraction of the
# distance between the two sizes' values.
_STEADY = 0.1
_ALIKE = 0.15  # Exponents whose relative difference is at most this count as equal.
_LEAST_FACTOR = 1.9  # Compare the smallest batch size with sizes this many times larger or more.


def follows_size(found: Mapping[int, Sequence[float]]) -> bool:
    """Return whether the metric of an untrained model changes as a power of the batch size.

    That happens if the metric is a sum over batches and, roughly, if it is a loss over all pairs of
    examples in a batch.

    Args:
        found: metric values by batch size. The result is False if a batch size has fewer than two
            values, or if another size is less than `_LEAST_FACTOR` times the smallest batch size.
    """
    (least, base), *others = sorted(found.items())
    powers = []
    for size, values in others:
        if size < _LEAST_FACTOR * least or min(len(base), len(values)) < 2:
            return False
        low, high = sorted((base, values), key=min)
        # Even at one batch size, values may change, such as while batch normalization collects
        # statistics. So compare this spread with the gap between the two batch sizes.
        spread = max(max(low) - min(low), max(high) - min(high))
        if not spread <= _STEADY * (min(high) - max(low)) or min(low) < _LEAST_VALUE:
            return False
        power = math.log(min(high) / max(low)) / math.log(size / least)
        powers.append(power if high is values else -power)
    lowest, highest = min(powers), max(powers)
    is_alike = highest - lowest <= _ALIKE * max(highest, -lowest)
    return is_alike and (lowest > _LEAST_POWER or highest < -_LEAST_POWER)


# Readings of this shape come from progress bars, whose steps may be batches. The steps of all other
# readings are optimizer updates.
_BARS = "tqdm"
# Two values that are printed for one step may differ by the fraction _ROUNDED. If they differ by
# more at _MOST_DOUBLES steps, raise an error.
_ROUNDED, _MOST_DOUBLES = 0.01, 3
_MOST_COMPLAINTS = 3  # Show only this many values given to `batchlab.log` that are no numbers.
# Values without a step or epoch may be those of the untrained model. This many of them are an
# error.
_MOST_UNPLACED = 5
_MOST_NAMES = 30  # list only this many printed names if the metric is missing


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricPoint:
    """The position of a training at one reading, and the metric value if the reading has one."""

    at_s: float  # When the line was printed, by a monotonic clock.
    samples: int  # The number of training examples seen.
    # The printed step number. If none was printed, the fewest steps that use `samples` examples.
    step: int
    value: float | None  # The value may be infinite or NaN.


class ProgressPoints:
    """The metric values of one run with their positions (points), read from its progress lines.

    The metric is read under the requested name, even if this name appears late. If it does not
    appear, the metric is read under a name of equal meaning (`eval/loss` for `val_loss`) or a name
    of the validation metric (`eval_loss` for `loss`).

    The number of samples at a point is the printed number, or else steps × batch size, or else
    epochs × training examples plus the examples since the last epoch.

    If several formats print the metric, `batchlab.log` is preferred, then the user's pattern if it
    has a group for the metric, then the format that printed the metric first.

    A value that is printed before any counter is ignored, because it may be of the untrained model.
    If a run prints such a value, it is not clear whether a line with only a counter belongs to the
    value before it or after it. So later values are used only if their own line has a counter.

    A script may end with a line about its best epoch, whose counter is lower than the last counter.
    So the first value with a lower counter is ignored, and an error is raised if further values
    follow at other positions. A value without a counter never replaces a value with a counter.
    """

    def __init__(
        self,
        metric: str,
        trial: Trial,
        pattern: str | None = None,
        *,
        size: TrainedSize | None = None,
    ) -> None:
        """Start without points for a run of `trial`.

        `size` checks that the run trains with its batch size; if it is None, nothing is checked.
        """
        self.metric = metric
        self.pattern = pattern
        self._size = size
        self.printed: str | None = None  # The metric's name as printed; None until printed.
        self.names: dict[str, set[str]] = {}  # The data splits (such as `val`) of each name.
        self.points: list[MetricPoint] = []  # The points with a metric value, fewest samples first.
        self.first: Reading | None = None  # The first reading with the metric.
        self.left_out: str | None = None  # The message about an ignored value; None without one.
        self.not_understood: dict[str, None] = {}  # Non-numbers given to `batchlab.log`.
        self._trial = trial
        is_near = partial(_is_near, metric)
        self._is_patterned = any(map(is_near, re.compile(pattern or "").groupindex))
        self._followed: str | None = None  # The format of the lines whose metric values are used.
        self._n_unplaced = 0  # The number of values without a clear position.
        self._last: dict[str, Reading] = {}
        self._at_metric: Reading | None = None  # The position of the last point with a value.
        # Whether the line of the last point with a value printed a counter, such as a step.
        self._is_placed = False
        self._complaints: dict[str, str] = {}
        # The position of an ignored value, and the error to raise if a value at another position
        # follows.
        self._refusal: tuple[Reading, str] | None = None
        # The data split that the user named; only its values are used. None if none was named.
        self._asked_kind: str | None = None
        self._kind: str | None = None  # The data split of the first metric value that was used.
        self._n_doubles = 0  # The number of steps with exactly two different printed values.
        # For each position (its counters): how many values of the metric followed the first value.
        self._n_more: Counter[tuple[float | None, ...]] = Counter()

    def add(self, reading: Reading) -> MetricPoint | None:
        """Add a reading; return its point, or None if the position of the reading is unknown.

        A second value at the same number of samples replaces the first value.

        Raises:
            ProgressError: the counter went backward, is missing or contradicts the batch size, or
                several names may mean the metric.
        """
        contradiction = self._size and self._size.contradiction(reading)
        if contradiction:
            raise OtherBatchSizeError(
                f"it did not train with the batch size that it was given: {contradiction}"
            )
        for value_text in reading.not_understood:
            if len(self.not_understood) < _MOST_COMPLAINTS:
                self.not_understood[value_text] = None
        if reading.complaint is not None:
            self._complaints.setdefault(reading.shape, reading.complaint)
        is_logged = reading.shape == LOG_SHAPE
        if self._is_patterned and reading.shape not in (LOG_SHAPE, LinePattern.shape):
            reading = replace(reading, values=())  # use only the position of this reading
        value = self._value_in(reading)
        place = self._place_of(reading)
        if value is None or not (is_logged or self._followed in (None, reading.shape)):
            return self._point(reading, reading.at_s)
        has_counter = reading.has_position and not reading.is_below
        if place is None or (self._n_unplaced and not has_counter):
            self._n_unplaced += 1
            if self._n_unplaced >= _MOST_UNPLACED and not self.points:
                raise ProgressError(self._unplaced_text())
            return None
        refusal = self._unsure_place(reading, place)
        if refusal is not None:
            raise ProgressError(refusal)
        if self._followed != reading.shape:
            self._restart()
            self._followed = reading.shape
        self.first = self.first or reading
        if self._is_left_out(reading, place, value):
            return self._point(reading, reading.at_s)
        if self.printed in reading.unsure:
            raise ProgressError(
                f"metric {self.printed!r} was printed as {value:,.0f}, which may hold a "
                f"decimal comma; print it with a decimal point, or log it with batchlab.log"
            )
        point = self._point(place, reading.at_s, value)
        # A position that is not ambiguous can always be converted to a number of examples.
        assert point is not None
        if self.points and self.points[-1].samples == point.samples:
            self._refuse_doubles(value, place)
            if self._is_placed and not reading.has_position:
                return self._point(reading, reading.at_s)
            self.points.pop()
        self._at_metric, self._is_placed = place, reading.has_position
        self.points.append(point)
        return point

    def _value_in(self, reading: Reading) -> float | None:
        values = dict(reading.values)
        for name in sorted(values, key=lambda name: name != self.metric):
            kind = _kind_of(reading, name)
            if kind not in self.names.setdefault(name, set()):
                self.names[name].add(kind)
                self._consider(name, kind)
        if self.printed is None or self._asked_kind not in (None, _kind_of(reading, self.printed)):
            return None
        return values.get(self.printed)

    def _consider(self, name: str, kind: str) -> None:
        """Take the values printed as `name` as the user's metric, if the names are similar enough.

        A name that equals the metric's name is preferred. `kind` is the data split of the values.
        """
        is_near = _is_near(self.metric, name)
        if not is_near and plain_name(_of_kind(name, kind)) != plain_name(self.metric):
            return
        if self.printed is None:
            self.printed = name
            if not is_near:
                self._asked_kind = kind
        elif name == self.metric != self.printed:
            self.printed, self._asked_kind, self.first = name, None, None
            self._restart()  # Earlier values had a name that only resembles the requested name.
        elif name != self.printed != self.metric:
            raise ProgressError(
                f"metric {self.metric!r} may be {self.printed!r} or {name!r}: both were printed; "
                f"give the one that is meant, as in --metric {self.printed!r}"
            )

    def _restart(self) -> None:
        self._followed = self._at_metric = self._kind = self._refusal = None
        self.points.clear()

    def _place_of(self, reading: Reading) -> Reading | None:
        """Return the last reading with a position, if possible of the same format as `reading`."""
        if reading.has_position:
            self._last[reading.shape] = reading
            return reading
        last = self._last.get(reading.shape)
        return last or max(self._last.values(), key=lambda place: place.at_s, default=None)

    def _point(self, place: Reading, at_s: float, value: float | None = None) -> MetricPoint | None:
        """Return the point at the position `place`; None if it gives no number of samples."""
        trial, step, samples = self._trial, place.step, place.samples
        if place.shape in self._complaints:
            return None
        is_updates = trial.micro_batch_size == trial.batch_size or place.shape != _BARS
        if samples is None and step is not None and is_updates:
            samples = step * trial.batch_size
        elif samples is None and step is not None:
            samples = step * trial.micro_batch_size
        elif samples is None and place.epoch is not None:
            since = (place.epoch_step or 0) * trial.micro_batch_size + (place.epoch_samples or 0)
            samples = round(place.epoch * trial.n_train) + since
        if samples is None:
            return None
        samples = max(0, samples)  # some scripts give -1 as the step before the training
        if step is None or not is_updates or step < 0:
            step = trial.plan.step_at(samples)
        return MetricPoint(at_s=at_s, samples=samples, step=step, value=value)

    def _unplaced_text(self) -> str:
        return (
            f"metric {self.printed!r} was printed without a step, an epoch or a sample count that "
            f"is understood; print one of these next to it, as in 'epoch 3 {self.printed} 0.4', "
            "or name the places of both with --pattern"
        )

    def _unsure_place(self, reading: Reading, place: Reading) -> str | None:
        """Return why the position of a value in the training is unclear, or None if it is clear."""
        complaint = self._complaints.get(place.shape)
        if complaint is not None:
            return f"metric {self.printed!r} has no sure place: {complaint}"
        if place.shape != _BARS:
            return None
        is_of_epochs = place.step is None and place.epoch_length is None
        if is_of_epochs and not reading.has_position and reading.shape != _BARS:
            return (
                f"metric {self.printed!r} was printed without a counter below a bar over "
                f"epochs; print its epoch next to it, or log it with batchlab.log"
            )
        steps = self._trial.n_train // self._trial.micro_batch_size
        if place.epoch_length is not None and place.epoch_length < steps:
            return (
                f"a bar of tqdm counts to {place.epoch_length}, less than the {steps} steps of an "
                f'epoch; say what it counts, as in tqdm(..., desc="epochs") or desc="steps", or '
                f"use batchlab.log"
            )
        return None

    def _is_left_out(self, reading: Reading, place: Reading, value: float) -> bool:
        """Return whether to ignore a value because its counter decreased or its split changed.

        One such value is ignored, because scripts may end with a line about the best epoch. Raise
        an error if a value at another position follows.
        """
        if self._refusal is not None:
            first, refusal = self._refusal
            if place.counters != first.counters:
                raise ProgressError(refusal)
            return True
        name, kind = str(self.printed), _kind_of(reading, str(self.printed))
        self._kind = self._kind or kind
        backward = _backward(place, self._at_metric)
        if kind != self._kind:
            one, other = _of_kind(name, self._kind), _of_kind(name, kind)
            oddity = f"is {other!r}, and not {one!r} as before"
            refusal = (
                f"metric {self.metric!r} was printed of two kinds under one name, {one!r} and "
                f"{other!r}: give the one that is meant, as in --metric {other!r}, print them "
                f"under different names, or log one with batchlab.log"
            )
        elif backward is not None:
            counter, now, then = backward
            oddity = f"was printed for {counter} {now:g} after that of {counter} {then:g}"
            refusal = (
                f"{counter} counter goes backward: {now:g} after {then:g}; it has to count from "
                f"the beginning of the training: {ONE_FOLD}"
            )
        else:
            return False
        self._refusal = place, refusal
        self.left_out = f"{name} = {value:g} {oddity}; it is left out"
        return True

    def _refuse_doubles(self, value: float, place: Reading) -> None:
        """Raise if a second `value` was printed for each of `_MOST_DOUBLES` steps."""
        before = self.points[-1].value
        assert before is not None
        is_same = self._at_metric is not None and place.counters == self._at_metric.counters
        is_rounded = math.isnan(before) or math.isclose(before, value, rel_tol=_ROUNDED)
        if place.shape == _BARS or is_rounded or not is_same:
            return
        self._n_more[place.counters] += 1
        # Count only steps with exactly two values. A third value shows that the script redraws one
        # line, such as a progress bar, so such a step is not counted anymore.
        self._n_doubles += {1: 1, 2: -1}.get(self._n_more[place.counters], 0)
        if self._n_doubles == _MOST_DOUBLES:
            raise ProgressError(
                f"metric {self.metric!r} was printed twice for each step, here as {before:g} and "
                f"{value:g}: print the two under different names, such as train_loss and "
                f"val_loss, or log one with batchlab.log"
            )

    def text(self) -> str:
        """Return a line for users with the metric's printed name and its first value."""
        assert self.first is not None
        return f"Recognized {self.printed} = {dict(self.first.values)[str(self.printed)]:g}"

    def complaint(self) -> str | None:
        """Return one line on what was not understood or why the metric is missing, or None."""
        if self.not_understood:
            return (
                "batchlab.log was given something that is not a number: "
                f"{', '.join(self.not_understood)}; give numbers, and counters of at least 0"
            )
        if self.first is not None:
            return None
        if self._n_unplaced:
            return self._unplaced_text()
        if self._is_patterned and not self.names:
            return f"no line with metric {self.metric!r} matched --pattern {self.pattern!r}"
        if not self.names:
            return (
                f"no metric {self.metric!r} was printed, and no other either; print it with "
                f"batchlab.log(step=..., val_loss=...), or name its place in the lines with "
                f"--pattern"
            )
        names = ", ".join(islice(self.names, _MOST_NAMES))
        return (
            f"no metric {self.metric!r} was printed; printed were {names}: "
            f"name one of them with --metric"
        )


def _backward(place: Reading, before: Reading | None) -> tuple[str, float, float] | None:
    """Return the counter that decreased, with its new and its old value, or None if none did."""
    for name in ("samples", "step", "epoch"):
        now, then = getattr(place, name), getattr(before, name, None)
        if now is not None and then is not None:
            return (name.rstrip("s"), now, then) if now < then else None
    return None
