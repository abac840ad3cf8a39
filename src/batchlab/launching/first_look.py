"""FirstLook: the beginning of one training of a command, as far as its metric is seen."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from batchlab.launching.command_end import CommandEnd
from batchlab.launching.followed import FollowedTraining
from batchlab.launching.metric_name import MetricName
from batchlab.launching.placeholders import Value
from batchlab.launching.progress_points import ProgressPoints
from batchlab.launching.reading import Reading
from batchlab.launching.recognized import Recognized
from batchlab.launching.training_command import TrainingCommand

# Values of the metric after the first step that a look waits for: of one alone it might be chance
# that two trainings print the same.
_VALUES = 2
_LISTEN_S = 0.25
_GRACE_S = 5.0
# Epochs are printed with a few digits.
_ROUNDING = 1e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class FirstLook:
    """What the beginning of a training showed.

    Attributes:
        curve: step and value of the metric, as told, the first ones.
        readings: all of its progress until then.
        start_s: seconds from its start to its first progress; None: there was none.
        took_s: seconds of the whole look.
        end: how it ended.
        is_cut: whether the time for the look ended before enough was seen.
        recognized: what was recognized in its output.
    """

    curve: tuple[tuple[int, float], ...]
    readings: tuple[Reading, ...]
    start_s: float | None
    took_s: float
    end: CommandEnd
    is_cut: bool
    recognized: Recognized

    @property
    def steps(self) -> tuple[int, ...]:
        """At which the metric was told."""
        return tuple(step for step, _ in self.curve)

    @property
    def trained(self) -> tuple[tuple[int, float], ...]:
        """The values after the first step."""
        return tuple((step, value) for step, value in self.curve if step > 0)

    def examples(self, batch_size: int) -> tuple[int, int] | None:
        """The fewest and the most training examples that its progress allows.

        Where steps are counted and not examples, the last batch of an epoch may be any size.

        Args:
            batch_size: of this training.

        Returns:
            None: the progress does not count both epochs and steps or examples.
        """
        # A bar over the whole training looks like one of an epoch; what tells the metric knows it.
        first = self.recognized.first_of_metric
        told = [each for each in self.readings if first and each.shape == first.shape]
        for reading in (*reversed(told), *reversed(self.readings)):
            if reading.epoch and reading.samples:
                exact = round(reading.samples / reading.epoch)
                return exact, exact
            if reading.epoch and reading.step:
                return _in_steps(reading.step / reading.epoch, batch_size)
            if reading.epoch is None and reading.step and reading.epoch_length:
                return _in_steps(reading.epoch_length, batch_size)
        return None

    def examples_beside(
        self, batch_size: int, other: FirstLook, other_batch_size: int
    ) -> tuple[int, int] | None:
        """The same from a counter within the epoch, such as [640/60000], of two batch sizes.

        Nothing says what such a counter counts. Examples are as many for both batch sizes and come
        by the batch; of batches there are fewer where the batch is larger.

        Args:
            batch_size: of this training.
            other: a look at another training.
            other_batch_size: of that one, and another one.

        Returns:
            None: there is no such counter, or it is neither of the two.
        """
        if not (self.counts_within_epochs and other.counts_within_epochs):
            return None
        length, other_length = self._within_epochs[-1][1], other._within_epochs[-1][1]
        if length == other_length:
            come_by_the_batch = self._counts_by(batch_size) and other._counts_by(other_batch_size)
            return (length, length) if come_by_the_batch else None
        fewest, most = _in_steps(length, batch_size)
        other_fewest, other_most = _in_steps(other_length, other_batch_size)
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

    def _counts_by(self, batch_size: int) -> bool:
        """Whether the counter within the epoch rises by whole batches of examples."""
        counted = {count for count, _ in self._within_epochs}
        # The last batch of an epoch may be smaller, and is printed at times.
        return len(counted) > 1 and sum(bool(count % batch_size) for count in counted) <= 1


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

    Args:
        command: what is run.
        values: of its placeholders.
        folder: of this training.
        marker: names it among all trainings.
        limit_s: seconds after which it is ended with what was seen.

    Raises:
        ProgressError: its progress contradicts itself.
    """
    began_s = time.monotonic()
    batch_size = values["batch_size"]
    assert isinstance(batch_size, int)
    points = ProgressPoints(
        command.metric, batch_size=batch_size, n_train=command.examples or batch_size
    )
    curve: dict[int, float] = {}
    seen: list[Reading] = []
    recognized = Recognized(MetricName(command.metric))
    is_cut = is_asked = False
    with FollowedTraining(
        command, values, folder=folder, marker=marker, grace_s=min(_GRACE_S, limit_s / 4)
    ) as training:
        end: CommandEnd | None = None
        while end is None:
            readings, end = training.listen(_LISTEN_S)
            for reading in () if is_asked else readings:
                seen.append(reading)
                recognized.add(reading)
                point = points.add(reading)
                if point is not None:
                    curve[point.step] = point.value
            if end is None and not is_asked:
                enough = sum(step > 0 for step in curve) >= _VALUES
                is_cut = not enough and time.monotonic() - began_s >= limit_s
                is_asked = enough or is_cut
                if is_asked:
                    training.end()
    return FirstLook(
        curve=tuple(sorted(curve.items())),
        readings=tuple(seen),
        start_s=seen[0].at_s - began_s if seen else None,
        took_s=time.monotonic() - began_s,
        end=end,
        is_cut=is_cut,
        recognized=recognized,
    )
