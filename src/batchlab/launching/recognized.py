"""Recognized: what was understood of a run's first output, for showing to whose script it is."""

from __future__ import annotations

from dataclasses import dataclass, field

from batchlab.launching.metric_name import MetricName
from batchlab.launching.reading import Reading
from batchlab.launching.shape_rows import shape_rows

_MOST_NAMES = 30
_FIRST_PLACES = 3


@dataclass(slots=True)
class Recognized:
    """What came, by shape; it takes the readings of a run as they come, in little memory.

    Attributes:
        metric: the metric that the user asked for.
        names: of everything that was measured, in the order in which it came.
        samples_of_shape: of each shape its first readings that hold values.
        not_understood: what was given to `batchlab.log` and is no number.
        first_of_metric: the first reading with the metric; None: there was none yet.
    """

    metric: MetricName
    names: list[str] = field(default_factory=list)
    samples_of_shape: dict[str, list[Reading]] = field(default_factory=dict)
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
            if told not in self.not_understood and len(self.not_understood) < _FIRST_PLACES:
                self.not_understood.append(told)
        first = self.samples_of_shape.setdefault(reading.shape, [])
        if reading.values and len(first) < _FIRST_PLACES:
            first.append(reading)
        if self.metric.value_in(reading) is not None and self.first_of_metric is None:
            self.first_of_metric = reading

    @property
    def shapes(self) -> tuple[str, ...] | None:
        """The shapes to read in the runs that follow: that of the metric, and where it stands.

        None as long as the metric was not seen.
        """
        if self.first_of_metric is None:
            return None
        needed: tuple[str, ...] = (self.first_of_metric.shape,)
        if not self.first_of_metric.has_position:
            needed = tuple(self._shapes)
        return tuple(shape for shape in needed if shape != "pattern")

    def text(self) -> str:
        """What was recognized, in one line."""
        if not self._shapes:
            return "No progress was recognized in the output yet."
        reading = self.first_of_metric
        shape = next(iter(self._shapes)) if reading is None else reading.shape
        label = "the pattern" if shape == "pattern" else shape_rows()[shape].label
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
    """What to do about a script that runs and prints nothing, in one paragraph.

    Args:
        quiet_s: for how long there was no output.
    """
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
