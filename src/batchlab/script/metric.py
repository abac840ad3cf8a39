"""The metric that a user asked for: its name, its direction, its values as printed."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from functools import lru_cache

from batchlab.errors import ProgressError
from batchlab.records.quantities import Better
from batchlab.script.formats import FORMATS, LOG_SHAPE
from batchlab.script.reading import Reading

_SPLITS = {
    "eval": "val",
    "evaluation": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "training": "train",
}
BATCH_LOSSES = ("train_loss", "loss")
"""What scripts call the loss of their training batches, as `plain_name` spells it."""
_SHORT = {"acc": "accuracy", "err": "error"}


class MetricName:
    """Finds one metric in the readings of one run, under the name that is printed.

    A name is taken that is the same to the letter; else one that says the same (`eval/loss` for
    `val_loss`); else that of the validation data (`eval_loss` for `loss`).

    Attributes:
        asked: the name that was given.
        printed: the name that is read; None: it was not seen yet.
        seen: all names so far, in the order in which they came.
    """

    def __init__(self, asked: str) -> None:
        self.asked = asked
        self.printed: str | None = None
        self.seen: dict[str, None] = {}

    def value_in(self, reading: Reading) -> float | None:
        """The metric's value; None: this reading has none.

        Raises:
            ProgressError: several names may be meant; the message lists them.
        """
        values = dict(reading.values)
        for name in sorted(values, key=self._is_another):
            if name not in self.seen:
                self.seen[name] = None
                self._consider(name)
        return None if self.printed is None else values.get(self.printed)

    def _is_another(self, name: str) -> bool:
        return name != self.asked

    def _consider(self, name: str) -> None:
        if not _is_near(self.asked, name):
            return
        if self.printed is None:
            self.printed = name
        elif self.printed != self.asked:
            raise ProgressError(
                f"metric {self.asked!r} may be {self.printed!r} or {name!r}: both were printed; "
                f"give the one that is meant, as in --metric {self.printed!r}"
            )


def _is_near(asked: str, name: str) -> bool:
    """Whether a printed name may be the one asked for."""
    wanted, found = plain_name(asked), plain_name(name)
    return name == asked or found in (wanted, f"val_{wanted}")


@lru_cache(maxsize=1000)
def plain_name(name: str) -> str:
    """A name in the spelling in which names are compared: `Eval/Acc` is `val_accuracy`."""
    # LightGBM numbers its validation sets: "valid_0's auc".
    words = re.findall(r"[a-z0-9]+", re.sub(r"\bvalid_\d+'s\b", "valid", name.lower()))
    return "_".join(_SHORT.get(_SPLITS.get(word, word), _SPLITS.get(word, word)) for word in words)


# The names that everybody uses. What is not among them is asked for, never guessed.
_LOWER = frozenset(
    "loss error err perplexity ppl mae mse rmse nll wer cer fid bpc bpb elbo_loss".split()
)
_HIGHER = frozenset(
    "accuracy acc top1 top5 f1 auc auroc ap map precision recall bleu rouge r2 iou miou dice "
    "spearman pearson mrr ndcg em exact_match".split()
)
_SPLIT = re.compile(r"^(eval|val|valid|validation|dev|test)[_/. -]+")


def direction_of(metric: str) -> Better | None:
    """The direction of a metric by its name: `val_loss` goes down, `eval_accuracy` up.

    None: the name does not tell.
    """
    name = _SPLIT.sub("", metric.lower().strip())
    last = re.split(r"[_/. -]", name)[-1]
    for known, better in ((_LOWER, "lower"), (_HIGHER, "higher")):
        if name in known or last in known:
            return better  # type: ignore[return-value]
    return None


def counts_updates(shape: str) -> bool:
    """Whether the steps of a format are optimizer updates, not batches; those of a pattern are."""
    return shape not in FORMATS or FORMATS[shape].counts_updates


# A bar of this shape may count anything.
_BARS = "tqdm"
_MOST_CONTRADICTIONS = 10  # what is said of them, not how many there were


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricPoint:
    """One value of the metric along a run.

    Attributes:
        at_s: when it was printed, by the system's monotonic clock, in seconds.
        samples: training examples seen until then.
        step: optimizer updates until then, as far as samples tell, rounded up.
        value: not always finite.
        updates: the step as it was told, where that counts updates; None: by samples alone.
    """

    at_s: float
    samples: int
    step: int
    value: float
    updates: int | None = None


class ProgressPoints:
    """The points of one run, as its readings come.

    Samples are those that were printed; else steps × batch size; else epochs × training examples,
    with the steps since the last epoch. Steps of different batch sizes are never compared.

    A metric may be printed in two shapes. The first that prints it is followed, but for
    `batchlab.log`, which goes before all others.

    A script may close with a line about its best epoch. So one value whose counter went back is
    left out as long as no other comes after it, and a value without a counter never takes the
    place of one with a counter.

    Attributes:
        metric: the metric, with the name that is read.
        points: so far, by rising samples.
        contradictions: the first ten texts about values that differ from others told for the same
            step, or that were left out.
    """

    def __init__(
        self,
        metric: str,
        *,
        batch_size: int,
        counted_batch_size: int | None = None,
        n_train: int | None = None,
    ) -> None:
        """No points yet.

        Args:
            metric: the name that the user gave.
            batch_size: examples per optimizer update.
            counted_batch_size: examples per printed step, where the shape counts micro-batches;
                None: the batch size.
            n_train: training examples in an epoch; None: not known.
        """
        self.metric = MetricName(metric)
        self.points: list[MetricPoint] = []
        self.contradictions: list[str] = []
        self._batch_size = batch_size
        self._counted = counted_batch_size or batch_size
        self._n_train = n_train
        self._followed: str | None = None
        self._last: dict[str, Reading] = {}
        self._at_metric: Reading | None = None
        self._is_placed = False
        self._complaints: dict[str, str] = {}
        self._went_back: tuple[Reading, str] | None = None

    def add(self, reading: Reading) -> MetricPoint | None:
        """The point of this reading; None: it has no value of the metric, or one that is left out.

        A second value at the same samples takes the place of the first.

        Raises:
            ProgressError: the counter went backward, there is none, or samples can't be told.
        """
        if reading.complaint is not None:
            self._complaints.setdefault(reading.shape, reading.complaint)
        value = self.metric.value_in(reading)
        place = self._place_of(reading)
        if value is None or not self._follows(reading.shape):
            return None
        if place is None:
            raise ProgressError(
                f"metric {self.metric.printed!r} was printed before any step, epoch or count of "
                f"samples; print one of these beside it"
            )
        self._refuse_unsure_place(reading, place)
        if self._is_left_out(reading, place, value):
            return None
        if self.metric.printed in reading.unsure:
            raise ProgressError(
                f"metric {self.metric.printed!r} was printed as {value:,.0f}, which may hold a "
                f"decimal comma; print it with a decimal point, or log it with batchlab.log"
            )
        self._at_metric = place
        point = self._point(reading, place, value)
        if self.points and self.points[-1].samples == point.samples:
            if self._is_placed and not reading.has_position:
                self._note(point, place, f"without a counter {value:g}; the first one counts")
                return None
            self._note(point, place, f"{value:g}; the last one counts")
            self.points.pop()
        self._is_placed = reading.has_position
        self.points.append(point)
        return point

    def _follows(self, shape: str) -> bool:
        if self._followed != shape and (self._followed is None or shape == LOG_SHAPE):
            self._followed, self._at_metric, self._went_back = shape, None, None
            self.points.clear()
        return shape == self._followed

    def samples_at(self, reading: Reading) -> int | None:
        """Training examples seen at this reading; None: its counters don't tell."""
        if reading.shape in self._complaints:
            return None
        if reading.samples is not None:
            return reading.samples
        if reading.step is not None:
            updates = self.updates_at(reading)
            return reading.step * self._counted if updates is None else updates * self._batch_size
        if reading.epoch is None or self._n_train is None:
            return None
        since = (reading.epoch_step or 0) * self._counted
        return round(reading.epoch * self._n_train) + since

    def updates_at(self, reading: Reading) -> int | None:
        """Optimizer updates at this reading, where its step counts them; None: samples tell."""
        if reading.step is None:
            return None
        is_whole = self._counted == self._batch_size
        return reading.step if is_whole or counts_updates(reading.shape) else None

    def _place_of(self, reading: Reading) -> Reading | None:
        """The reading that says where this one is: itself, or the last one that said so."""
        if reading.has_position:
            self._last[reading.shape] = reading
            return reading
        own = self._last.get(reading.shape)
        return own or max(self._last.values(), key=lambda each: each.at_s, default=None)

    def _point(self, reading: Reading, place: Reading, value: float) -> MetricPoint:
        samples = self.samples_at(place)
        if samples is None:
            raise ProgressError(
                "progress is printed in epochs alone, and the number of training examples is not "
                "known: give it, as in --examples 50000, or print samples or steps"
            )
        step = math.ceil(samples / self._batch_size)
        return MetricPoint(
            at_s=reading.at_s,
            samples=samples,
            step=step,
            value=value,
            updates=self.updates_at(place),
        )

    def _refuse_unsure_place(self, reading: Reading, place: Reading) -> None:
        """Refuse a place of which nobody knows what it counts.

        Raises:
            ProgressError: telling what to print.
        """
        complaint = self._complaints.get(place.shape)
        if complaint is not None:
            raise ProgressError(f"metric {self.metric.printed!r} has no sure place: {complaint}")
        if place.shape != _BARS:
            return
        if place.step is None and not reading.has_position and reading.shape != _BARS:
            raise ProgressError(
                f"metric {self.metric.printed!r} was printed without a counter below a bar over "
                f"epochs; print its epoch beside it, or log it with batchlab.log"
            )
        length = place.epoch_length
        if length is not None and self._n_train is not None:
            steps = self._n_train // self._counted
            if length < steps:
                raise ProgressError(
                    f"a bar of tqdm counts to {length}, less than the {steps} steps of an epoch; "
                    f'tell what it counts, as in tqdm(..., desc="epochs") or desc="steps", or use '
                    f"batchlab.log"
                )

    def _is_left_out(self, reading: Reading, place: Reading, value: float) -> bool:
        """Whether its counter went back, or it comes after one that did and has none.

        Raises:
            ProgressError: it is the second one since the counter went back.
        """
        if self._went_back is not None:
            first, complaint = self._went_back
            if reading.has_position and _counters(reading) != _counters(first):
                raise ProgressError(complaint)
            return True
        backward = None if self._at_metric is None else _backward(place, self._at_metric)
        if backward is None:
            return False
        counter, now, then = backward
        if counter == "epoch" and not float(now).is_integer():
            raise ProgressError(
                f"epoch {now:g} was printed after {then:g}: a whole first epoch is taken for its "
                f"number; print 0.0 for the untrained model, or log it with batchlab.log"
            )
        complaint = (
            f"{counter} counter goes backward: {now:g} after {then:g}; it has to count from the "
            f"beginning of the training"
        )
        self._went_back = (reading, complaint)
        self.contradictions.append(
            f"{self.metric.printed} = {value:g} was printed for {counter} {now:g} after that of "
            f"{counter} {then:g}; it is left out"
        )
        return True

    def _note(self, second: MetricPoint, place: Reading, told: str) -> None:
        """Note a second value for one step; a bar shows its old value until there is a new one."""
        first = self.points[-1]
        if first.value == second.value or (math.isnan(first.value) and math.isnan(second.value)):
            return
        if len(self.contradictions) >= _MOST_CONTRADICTIONS or not counts_updates(place.shape):
            return
        where = f"step {place.step}" if place.step is not None else f"sample {second.samples}"
        self.contradictions.append(
            f"{self.metric.printed} was printed twice at {where}, as {first.value:g} and {told}"
        )


def _counters(reading: Reading) -> tuple[float | None, ...]:
    return reading.samples, reading.step, reading.epoch, reading.epoch_step


def _backward(place: Reading, before: Reading) -> tuple[str, float, float] | None:
    """Which counter went back, from what to what; None: none did."""
    for name in ("samples", "step", "epoch"):
        now, then = getattr(place, name), getattr(before, name)
        if now is not None and then is not None:
            counter = "sample" if name == "samples" else name
            return (counter, now, then) if now < then else None
    return None


_MOST_NAMES = 30
_MOST_COMPLAINTS = 3


@dataclass(slots=True)
class Recognized:
    """What came, by shape; it takes the readings of a run as they come, in little memory.

    Attributes:
        metric: the metric that the user asked for.
        names: of everything that was measured, in the order in which it came.
        not_understood: what was given to `batchlab.log` and is no number.
        first_of_metric: the first reading with the metric; None: there was none yet.
    """

    metric: MetricName
    names: list[str] = field(default_factory=list)
    not_understood: list[str] = field(default_factory=list)
    _shapes: dict[str, None] = field(default_factory=dict)
    first_of_metric: Reading | None = None

    def add(self, reading: Reading) -> None:
        """Take one reading.

        Raises:
            ProgressError: several names may be the metric.
        """
        self._shapes.setdefault(reading.shape)
        for name, _ in reading.values:
            if name not in self.names and len(self.names) < _MOST_NAMES:
                self.names.append(name)
        for told in reading.not_understood:
            if told not in self.not_understood and len(self.not_understood) < _MOST_COMPLAINTS:
                self.not_understood.append(told)
        if self.metric.value_in(reading) is not None and self.first_of_metric is None:
            self.first_of_metric = reading

    def text(self) -> str:
        """What was recognized, in one line."""
        if not self._shapes:
            return "No progress was recognized in the output yet."
        reading = self.first_of_metric
        shape = next(iter(self._shapes)) if reading is None else reading.shape
        label = FORMATS[shape].label if shape in FORMATS else "the pattern"
        if reading is None:
            return f"Progress was recognized ({label}), without {self.metric.asked}."
        name = str(self.metric.printed)
        value = dict(reading.values)[name]
        return f"Recognized: {label}; {name} = {value:g}{_place_text(reading)}."

    def complaint(self) -> str | None:
        """Why the metric can't be followed, in one line; None: it can."""
        if self.not_understood:
            return (
                f"batchlab.log was given what is no number: {', '.join(self.not_understood)}; give "
                f"numbers, and counters of at least 0"
            )
        if self.first_of_metric is not None:
            return None
        if not self.names:
            return f"no metric {self.metric.asked!r} was printed, and no other either; {HOW_TO}"
        return (
            f"no metric {self.metric.asked!r} was printed; printed were {', '.join(self.names)}: "
            f"name one of them with --metric"
        )


HOW_TO = (
    "print it with batchlab.log(step=..., val_loss=...), or name its place in the lines with "
    "--pattern"
)


def silence_text(quiet_s: float) -> str:
    """What to do about a script that runs and prints nothing, in one paragraph."""
    return (
        f"The script runs, and has printed nothing for {quiet_s:.0f} s. It may keep its output in "
        f"a buffer. PYTHONUNBUFFERED=1 is set, which helps where Python prints. Elsewhere try "
        f"python -u, print(..., flush=True), or stdbuf -oL before the command."
    )


def _place_text(reading: Reading) -> str:
    if reading.step is not None:
        return f" at step {reading.step}"
    if reading.samples is not None:
        return f" at sample {reading.samples}"
    return "" if reading.epoch is None else f" at epoch {reading.epoch:g}"
