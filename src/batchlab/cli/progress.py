"""Progress: what a long command says on stderr while it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from batchlab.records.progress_listener import Silent
from batchlab.records.run import RunsAsked
from batchlab.records.study import BestSoFar
from batchlab.report.progress import ProgressState, clock_text, progress_lines, stage_text
from batchlab.words.catalogue import text as in_words

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

_PER_SECOND = 4


class Quiet(Silent):
    """Nothing is said."""

    def __enter__(self) -> Quiet:
        """Nothing to open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""


class ProgressLines(Silent):
    """Plain lines, for a log or a pipe: one a stage, one a warning."""

    def __init__(self) -> None:
        """Nothing said yet."""
        self._state = ProgressState()

    def __enter__(self) -> ProgressLines:
        """Nothing to open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def begins(self, *, command: str, subject: str, stages: Sequence[str]) -> None:
        """Keep its name: each line begins with it."""
        self._state.begins(command, subject, stages)

    def budget(self, *, spent_s: float, budget_s: float) -> None:
        """Keep it: each line tells what is spent of it."""
        self._state.spend(spent_s, budget_s)

    def phase(self, text: str) -> None:
        """Say what begins."""
        self._state.enter(text)
        said = stage_text(self._state)
        if (budget := self._state.budget) is not None:
            said = in_words(
                "{stage} ({spent} of {budget} spent)",
                stage=said,
                spent=clock_text(budget[0]),
                budget=clock_text(budget[1]),
            )
        print(said, file=sys.stderr, flush=True)

    def warning(self, text: str) -> None:
        """Say it at once."""
        print(f"warning: {text}", file=sys.stderr, flush=True)


class ProgressDisplay(Silent):
    """A few lines at the bottom of a terminal, drawn again as time goes on."""

    def __init__(self) -> None:
        """Set it up; it is drawn from `__enter__` on."""
        from rich.console import Console
        from rich.live import Live

        self._state = ProgressState()
        self._live = Live(
            self,
            console=Console(stderr=True),
            refresh_per_second=_PER_SECOND,
            transient=True,
            vertical_overflow="crop",
        )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The lines as wide as the terminal is now."""
        from rich.text import Text

        # The last column stays free: a terminal may break the line behind it.
        lines = progress_lines(self._state, options.max_width - 1, ascii_only=options.ascii_only)
        for n, line in enumerate(lines):
            yield Text(line, style="bold" if n == 0 else "", no_wrap=True, overflow="crop")

    def __enter__(self) -> ProgressDisplay:
        """Draw it."""
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take it away."""
        self._live.__exit__(kind, error, trace)

    def begins(self, *, command: str, subject: str, stages: Sequence[str]) -> None:
        """Show what it is."""
        self._state.begins(command, subject, stages)

    def phase(self, text: str) -> None:
        """Show what begins."""
        self._state.enter(text)

    def budget(self, *, spent_s: float, budget_s: float) -> None:
        """Let the bar go by the clock."""
        self._state.spend(spent_s, budget_s)

    def asked(self, runs: RunsAsked) -> None:
        """Show them."""
        self._state.runs = runs

    def best(self, best: BestSoFar | None) -> None:
        """Show it."""
        self._state.lead = best

    def progress(
        self, *, done_fraction: float, left_s: float | None, text: str, short: str = ""
    ) -> None:
        """Move the bar where there is no budget, and show what is done."""
        self._state.work(done_fraction, left_s, text, short)

    def warning(self, text: str) -> None:
        """Print it above the lines."""
        self._live.console.print(f"warning: {text}", markup=False, highlight=False)


def progress_on_stderr(*, quiet: bool = False) -> ProgressDisplay | ProgressLines | Quiet:
    """A display where stderr is a terminal that can move its cursor, lines elsewhere."""
    if quiet:
        return Quiet()
    can_draw = sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
    return ProgressDisplay() if can_draw else ProgressLines()
