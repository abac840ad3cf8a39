"""Progress: what a long command says on stderr while it runs."""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import TYPE_CHECKING

from batchlab.records.progress_listener import Silent
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


class ProgressLines(ProgressState):
    """Plain lines, for a log or a pipe: one a stage, one a warning."""

    def __enter__(self) -> ProgressLines:
        """Nothing to open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def phase(self, text: str) -> None:
        """Say what begins, and what is spent of the budget."""
        super().phase(text)
        said = stage_text(self)
        if (spent := self.spent) is not None:
            said = in_words(
                "{stage} ({spent} of {budget} spent)",
                stage=said,
                spent=clock_text(spent[0]),
                budget=clock_text(spent[1]),
            )
        print(said, file=sys.stderr, flush=True)

    def warning(self, text: str) -> None:
        """Say it at once."""
        print(f"warning: {text}", file=sys.stderr, flush=True)


class ProgressDisplay(ProgressState):
    """A few lines at the bottom of a terminal, drawn again as time goes on."""

    def __init__(self) -> None:
        """Set it up; it is drawn from `__enter__` on."""
        from rich.console import Console
        from rich.live import Live

        super().__init__()
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
        lines = progress_lines(self, options.max_width - 1, ascii_only=options.ascii_only)
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

    def warning(self, text: str) -> None:
        """Print it above the lines."""
        self._live.console.print(f"warning: {text}", markup=False, highlight=False)


def progress_on_stderr(*, quiet: bool = False) -> ProgressDisplay | ProgressLines | Quiet:
    """A display where stderr is a terminal that can move its cursor, lines elsewhere."""
    if quiet:
        return Quiet()
    can_draw = sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
    return ProgressDisplay() if can_draw else ProgressLines()
