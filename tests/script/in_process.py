"""Scripts that are run in this process, at once, on a clock that only their sleeps move."""

import io
import sys
import traceback
from collections import defaultdict
from collections.abc import Callable
from contextlib import redirect_stdout
from types import SimpleNamespace

import pytest

from batchlab.script.command import TrainingCommand
from batchlab.script.output import OutputReader
from batchlab.script.process import CommandEnd, status_and_reason
from batchlab.script.reading import Reading

_START_S, _TICK_S = 0.02, 0.25


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


class InProcess(io.StringIO):
    """Stands in for FollowedTraining: `train.py`, whose lines come when its sleeps are over."""

    def __init__(self, clock: Clock, command: TrainingCommand, values: dict, **_: object) -> None:
        super().__init__()
        arguments = command.filled(values, folder=command.place, output_dir=command.place)
        self._clock, self._ended_s = clock, clock.now_s
        self._reader = OutputReader(pattern=command.pattern, metric=command.metric)
        self._printed: dict[float, str] = defaultdict(str)
        self._error: list[str] = []
        clock.sleep(_START_S)
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(self):
            patch.setattr(sys, "argv", arguments[arguments.index("train.py") :])
            patch.setattr(sys, "stdin", io.StringIO())
            patch.setattr("time.sleep", clock.sleep)
            try:
                exec((command.place / "train.py").read_text(), {"__name__": "__main__"})
            except Exception as error:
                self._error = [traceback.format_exception_only(error)[-1].strip()]
        clock.now_s, self._ended_s = self._ended_s, clock.now_s

    def write(self, text: str) -> int:
        self._printed[self._clock.now_s] += text
        return len(text)

    def follow(self, take: Callable[[list[Reading]], bool]) -> CommandEnd:
        while self._clock.now_s < self._ended_s:
            now_s = min([*self._printed, self._ended_s, self._clock.now_s + _TICK_S])
            self._clock.now_s = now_s
            piece = self._printed.pop(now_s, "").encode()
            if take(self._reader.feed(piece, now_s)) and now_s < self._ended_s:
                return self._end(was_asked=True)
        take(self._reader.finish())
        return self._end(was_asked=False)

    def _end(self, *, was_asked: bool) -> CommandEnd:
        status, reason = status_and_reason(
            ("python", "train.py"),
            exit_code=len(self._error),
            was_asked=was_asked,
            kernel_killed=False,
            is_device_full=False,
            last_lines=self._error,
        )
        return CommandEnd(
            status=status,
            reason=reason,
            last_lines=tuple(self._error),
            duration_s=self._clock.now_s,
            peak_bytes=None,
            gpu_peak_bytes=None,
            was_asked=was_asked,
        )


def run_in_process(patch: pytest.MonkeyPatch) -> Clock:
    """Have looks run their scripts in this process, and return the clock that they go by."""
    clock = Clock()
    patch.setattr("batchlab.script.look.time", SimpleNamespace(monotonic=lambda: clock.now_s))
    patch.setattr(
        "batchlab.script.look.FollowedTraining",
        lambda *command_and_values, **options: InProcess(clock, *command_and_values, **options),
    )
    return clock
