"""Progress: what a long command says on stderr while it runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_LINE_EVERY_S = 10.0


class ProgressLines:
    """Plain lines, for a log or a pipe: one a phase, one a warning, one every ten seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing said yet; `clock` is a monotonic one, in seconds."""
        self._clock = clock
        self._said_s = clock()

    def __enter__(self) -> ProgressLines:
        """Nothing to open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def phase(self, text: str) -> None:
        """Say what begins."""
        print(text, file=sys.stderr, flush=True)

    def warning(self, text: str) -> None:
        """Say it at once."""
        print(f"warning: {text}", file=sys.stderr, flush=True)

    def progress(self, *, done_fraction: float, left_s: float | None, text: str) -> None:
        """Say it if the last line is old enough."""
        if self._clock() - self._said_s < _LINE_EVERY_S:
            return
        self._said_s = self._clock()
        print(f"{done_fraction:4.0%}  {duration(left_s)} left  {text}", file=sys.stderr, flush=True)


class ProgressBar:
    """One bar with the time left, for a terminal."""

    def __init__(self) -> None:
        """Set up the bar; it is drawn from `__enter__` on."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._bar: Progress = Progress(
            TextColumn("{task.fields[phase]}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %  {task.fields[left]}"),
            TextColumn("[dim]{task.fields[text]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._task: TaskID = self._bar.add_task("", total=1.0, phase="starting", left="", text="")

    def __enter__(self) -> ProgressBar:
        """Draw it."""
        self._bar.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take it away."""
        self._bar.__exit__(kind, error, trace)

    def phase(self, text: str) -> None:
        """Show what begins."""
        self._bar.update(self._task, phase=text, text="")

    def warning(self, text: str) -> None:
        """Print it above the bar."""
        self._bar.console.print(f"warning: {text}", markup=False, highlight=False, soft_wrap=True)

    def progress(self, *, done_fraction: float, left_s: float | None, text: str) -> None:
        """Move the bar."""
        self._bar.update(
            self._task, completed=done_fraction, left=f"{duration(left_s)} left", text=text
        )


def progress_on_stderr() -> ProgressBar | ProgressLines:
    """A bar where stderr is a terminal, lines elsewhere."""
    return ProgressBar() if sys.stderr.isatty() else ProgressLines()


def duration(seconds: float | None) -> str:
    """Seconds as people say them: 8 s, 3 min, 2.5 h; "?" for None."""
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
