"""FollowedTraining: a launched training whose progress is read as it comes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType

from batchlab.launching.command_end import CommandEnd
from batchlab.launching.launched import GRACE_S, Launched
from batchlab.launching.output_environment import output_environment
from batchlab.launching.output_reader import OutputReader
from batchlab.launching.placeholders import Value
from batchlab.launching.reading import Reading
from batchlab.launching.training_command import TrainingCommand
from batchlab.progress_log import LOG_PATH_VARIABLE

# `batchlab.log` writes to a file, at which is looked so often.
_LOOK_EVERY_S = 0.05
_READ_BYTES = 1 << 20
_LOG_NAME = "progress.jsonl"
OUTPUT_NAME = "output"
"""What {output_dir} is called in the folder of a training."""
_RUN_BEGINS = b'\n{"batchlab_run": 1}\n'
LOG_SHAPE = "batchlab"
"""The shape of the lines of `batchlab.log`."""


class FollowedTraining:
    """One training of a command that runs: what it tells, and how it ended."""

    def __init__(
        self,
        command: TrainingCommand,
        values: Mapping[str, Value | None],
        *,
        folder: Path,
        marker: str,
        grace_s: float = GRACE_S,
        goes_on: bool = False,
    ) -> None:
        """Start it.

        Args:
            command: what is trained.
            values: of its placeholders, but for `output_dir` and `config`.
            folder: its own, made if missing: its output, its progress, and {output_dir} in it.
            marker: names it among all trainings: the study, a slash, the training.
            grace_s: from SIGTERM to SIGKILL, in seconds.
            goes_on: whether it is taken up where its last run ended; what that told is kept.
        """
        output_dir = folder / OUTPUT_NAME
        output_dir.mkdir(parents=True, exist_ok=True)
        self._log = folder / _LOG_NAME
        with self._log.open("ab" if goes_on else "wb") as log:
            log.write(_RUN_BEGINS)
            self._n_read = log.tell()
        self._reader = OutputReader(pattern=command.pattern, metric=command.metric)
        self._readings: list[Reading] = []
        self._is_over = self._has_log = False
        self._is_read = True
        self._launched = Launched(
            command.filled(values, folder=folder, output_dir=output_dir),
            cwd=command.place,
            environment={**output_environment(os.environ), LOG_PATH_VARIABLE: str(self._log)},
            folder=folder,
            marker=marker,
            on_output=self._take_output,
            grace_s=grace_s,
        )

    def listen(self, timeout_s: float) -> tuple[list[Reading], CommandEnd | None]:
        """What it told since the last look.

        Args:
            timeout_s: to wait for something new, at most.

        Returns:
            The readings in the order they came, and how it ended; None: it goes on.
        """
        until_s = time.monotonic() + timeout_s
        while True:
            left_s = until_s - time.monotonic()
            wait([self._launched.connection], max(0.0, min(left_s, _LOOK_EVERY_S)))
            ended = self._launched.receive()
            self._take_log()
            if ended is not None and not self._is_over:
                self._is_over = True
                self._readings += self._reader.finish() if self._is_read else []
            if self._readings or ended is not None or left_s <= 0:
                told = sorted(self._readings, key=lambda reading: reading.at_s)
                self._readings = []
                return self._of_the_log(told), ended

    def end(self) -> None:
        """Ask for its end; that comes by `listen`."""
        self._launched.end()

    def stop_reading(self) -> None:
        """Read no progress from here on; what it writes is kept as before."""
        self._is_read = False

    def close(self) -> None:
        """End it at once, and wait until nothing of it is left."""
        self._launched.close()

    def __enter__(self) -> FollowedTraining:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _of_the_log(self, told: list[Reading]) -> list[Reading]:
        """Once `batchlab.log` speaks, it alone counts: a script may print the same, rounded."""
        self._has_log = self._has_log or any(reading.shape == LOG_SHAPE for reading in told)
        if not self._has_log:
            return told
        return [reading for reading in told if reading.shape == LOG_SHAPE]

    def _take_output(self, piece: bytes, at_s: float) -> None:
        if self._is_read:
            self._readings += self._reader.feed(piece, at_s)

    def _take_log(self) -> None:
        if not self._is_read:
            return
        try:
            with self._log.open("rb") as file:
                file.seek(self._n_read)
                while piece := file.read(_READ_BYTES):
                    self._n_read += len(piece)
                    self._readings += self._reader.feed(piece, time.monotonic(), stream="log")
        except OSError:
            return  # the script has removed it; its output may tell as well


def told_by_log(folder: Path) -> Iterator[list[Reading]]:
    """What `batchlab.log` told in each run of a training since it last began, in order.

    The script writes it itself, so it holds what a batchlab that was killed had not stored yet.

    Args:
        folder: of the training.
    """
    try:
        content = (folder / _LOG_NAME).read_bytes()
    except OSError:
        return
    for run in content.split(_RUN_BEGINS):
        reader = OutputReader()
        yield [*reader.feed(run, 0.0, stream="log"), *reader.finish()]
