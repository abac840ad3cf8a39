"""A running command whose progress is read (FollowedTraining), and the times of its steps."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from batchlab.progress_log import LOG_PATH_VARIABLE
from batchlab.script.command import PlaceholderValue, TrainingCommand
from batchlab.script.formats import LOG_SHAPE
from batchlab.script.metric import MetricPoint
from batchlab.script.output import GrowingFiles, OutputReader
from batchlab.script.process import READ_EVERY_S, WIDE, CommandEnd, Launched
from batchlab.script.reading import Reading

# `follow` collects readings for this many seconds before it passes them on, because the receiver
# checks the whole run each time.
_TAKE_EVERY_S = 0.05
_LOG_NAME = "progress.jsonl"
OUTPUT_NAME = "output"
"""The name of the folder for {output_dir}, inside the folder of a training."""
_RUN_BEGINS = b'\n{"batchlab_run": 1}\n'


class FollowedTraining(Launched):
    """A running training of a command: the progress that the script reports, and how it ended."""

    def __init__(
        self,
        command: TrainingCommand,
        values: Mapping[str, PlaceholderValue | None],
        *,
        folder: Path,
        marker: str,
        grace_s: float,
        goes_on: bool = False,
    ) -> None:
        """Start the training, with values for all placeholders but `output_dir` and `config`.

        The `folder` of the training, created if missing, stores its output, its progress and
        {output_dir}. The `marker`, such as "study/training", identifies the processes of the
        training. If `goes_on` is True, the training resumes from its last run: the progress that
        `batchlab.log` stored in that run is kept. Otherwise, it is deleted.
        """
        output_dir = folder / OUTPUT_NAME
        output_dir.mkdir(parents=True, exist_ok=True)
        self._log = folder / _LOG_NAME
        with self._log.open("ab" if goes_on else "wb") as log:
            log.write(_RUN_BEGINS)
            self._n_read = log.tell()
        self._reader = OutputReader(pattern=command.pattern, metric=command.metric)
        self._log_reader = OutputReader(metric=command.metric)
        self._files = GrowingFiles(output_dir)
        self._readings: list[Reading] = []
        self._is_read, self._has_log = True, False
        super().__init__(
            command.filled(values, folder=folder, output_dir=output_dir),
            cwd=command.place,
            environment={**WIDE, **os.environ, LOG_PATH_VARIABLE: str(self._log)},
            folder=folder,
            marker=marker,
            grace_s=grace_s,
        )

    def follow(self, take: Callable[[list[Reading]], bool]) -> CommandEnd:
        """Pass new readings to `take` until the run ends; end the run if `take` returns True."""
        due_s = 0.0
        while True:
            ended = self.receive()
            if self._is_read:
                self._read(is_last=ended is not None)
            now_s = time.monotonic()
            if ended is None and now_s < due_s:
                time.sleep(READ_EVERY_S)
                continue
            due_s = now_s + _TAKE_EVERY_S
            readings = sorted(self._readings, key=lambda reading: reading.at_s)
            self._readings = []
            # Once the script uses `batchlab.log`, ignore its output, which may repeat the values.
            logged = [reading for reading in readings if reading.shape == LOG_SHAPE]
            self._has_log = self._has_log or bool(logged)
            is_enough = take(logged if self._has_log else readings)
            if ended is not None and not self._is_read:
                return ended
            if is_enough:
                self.end()

    def stop_reading(self) -> None:
        """Stop reading progress from the output, which is still stored."""
        self._is_read = False

    def _read(self, *, is_last: bool) -> None:
        """Read new progress for about `READ_EVERY_S` seconds.

        If the command has ended (`is_last`), stop reading once no output is left.
        """
        until_s = time.monotonic() + READ_EVERY_S
        while not self._is_flood and (piece := self.read_output()):
            self._readings += self._reader.feed(piece, time.monotonic())
            if time.monotonic() >= until_s:
                # Output is left, because the command prints faster than this process reads.
                is_last = False
                break
        # Ignore a missing log file: if the script removed it, the output may still show progress.
        with suppress(OSError), self._log.open("rb") as file:
            file.seek(self._n_read)
            piece = file.read()
            self._n_read += len(piece)
            self._readings += self._log_reader.feed(piece, time.monotonic())
        self._readings += self._files.grown(is_last=is_last)
        if is_last:
            self._readings += self._reader.finish() + self._log_reader.finish()
            self.stop_reading()


def logged_runs(folder: Path, *, metric: str) -> Iterator[list[Reading]]:
    """Yield the readings that `batchlab.log` stored for a training, one list per start or resume.

    Because the script itself writes this log, the readings remain even if batchlab was killed.
    """
    content = b""
    with suppress(OSError):
        content = (folder / _LOG_NAME).read_bytes()
    for run in content.split(_RUN_BEGINS):
        reader = OutputReader(metric=metric)
        yield [*reader.feed(run, 0.0), *reader.finish()]


# Steps are timed in stretches of consecutive steps. During the first steps, caches are filled and
# data workers start. So this fraction of the stretches, and at least one, is left out as warm-up.
_WARM_UP_FRACTION = 0.2
FEWEST_STRETCHES = 3
"""An estimate of the step time needs this many timed stretches of steps after the warm-up.
Stretches with an evaluation are left out, unless too few stretches would remain."""
# A timed stretch of steps lasts at least _SHORTEST_S seconds and _TIMES_RESOLUTION times the delay
# with which printed lines are read; in a short run, only 1 / _PARTS of the run.
_PARTS = 10
_SHORTEST_S = 0.05
_TIMES_RESOLUTION = 20.0


def step_intervals(
    points: Sequence[MetricPoint], *, resolution_s: float
) -> tuple[tuple[float, ...], tuple[float, ...], bool]:
    """Return seconds per step in the warm-up and after it, and whether they include evaluations.

    Steps are timed in stretches of consecutive steps; each stretch gives one number of seconds per
    step. Between a point with a metric value and the point before it, the script also evaluated.
    These intervals are left out if the other intervals suffice and last long enough to be timed.
    `resolution_s` is the largest delay of the times of `points`, or 0.0 if the script logged them.
    """
    pieces = list(pairwise(_risen(points)))
    clear_s = _TIMES_RESOLUTION * resolution_s
    whole_s = sum(map(_seconds, pieces))
    if whole_s <= clear_s:
        pieces = []  # All lines came at once from a buffer, so steps cannot be timed.
    shortest_s = min(max(_SHORTEST_S, clear_s), whole_s / _PARTS)
    bare = [piece for piece in pieces if piece[1].value is None]
    stretches = _stretches(bare, shortest_s)
    is_apart = bool(bare) and statistics.median(map(_seconds, bare)) >= clear_s
    with_evaluations = len(bare) < len(pieces) and (
        len(stretches) <= FEWEST_STRETCHES or not is_apart
    )
    if with_evaluations:
        stretches = _stretches(pieces, shortest_s)
    n_warm = min(len(stretches), max(1, int(_WARM_UP_FRACTION * len(stretches))))
    return tuple(stretches[:n_warm]), tuple(stretches[n_warm:]), with_evaluations


def _risen(points: Sequence[MetricPoint]) -> list[MetricPoint]:
    """Return the longest sequence of points in which the step number rises.

    If the step number decreases and then rises again, one of the two sequences is a counter of
    something other than steps, such as tokenized examples. If a step was evaluated, its point has
    the time of its last evaluation.
    """
    sequences: list[list[MetricPoint]] = []
    # The sequence to which the previous point was added.
    last: list[MetricPoint] | None = None
    for point in points:
        if point.value is not None and last and point.step <= last[-1].step:
            # Move the point to the end of the evaluation, where the next timed interval starts.
            last[-1] = replace(last[-1], at_s=point.at_s, value=point.value)
            continue
        last = next((rising for rising in sequences if point.step >= rising[-1].step), None)
        if last is None:
            last = [point]
            sequences.append(last)
        elif point.step > last[-1].step:
            last.append(point)
    return max(sequences, key=len, default=[])


def _seconds(piece: tuple[MetricPoint, MetricPoint]) -> float:
    return piece[1].at_s - piece[0].at_s


def _stretches(pieces: Sequence[tuple[MetricPoint, MetricPoint]], shortest_s: float) -> list[float]:
    step_s = []
    seconds, steps = 0.0, 0
    for before, after in pieces:
        seconds += after.at_s - before.at_s
        steps += after.step - before.step
        if seconds >= shortest_s:
            step_s.append(seconds / steps)
            seconds, steps = 0.0, 0
    return step_s
