"""Progress: what a long command shows on stderr while the command runs."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from batchlab.app.progress import ProgressLines, ProgressState, progress_lines
from batchlab.records.progress_listener import ProgressListener

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

_PER_SECOND = 4


class ProgressDisplay(ProgressState):
    """A few lines of progress at the bottom of a terminal, redrawn regularly."""

    def __init__(self) -> None:
        """Prepare the display without drawing; `__enter__` draws the display."""
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
        """Yield the lines, cut off at the current width of the terminal."""
        from rich.text import Text

        # Leave the last column empty, because some terminals break a line of full width.
        lines = progress_lines(self, options.max_width - 1, ascii_only=options.ascii_only)
        yield Text(lines[0], style="bold", no_wrap=True, overflow="crop")
        for line in lines[1:]:
            yield Text(line, no_wrap=True, overflow="crop")

    def __enter__(self) -> ProgressDisplay:
        """Draw the display and start redrawing."""
        self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop redrawing and remove the display."""
        self._live.__exit__(*error)  # type: ignore[arg-type]

    def warning(self, text: str) -> None:
        """Print the warning above the display."""
        self._live.console.print(f"warning: {text}", markup=False, highlight=False)


def progress_on_stderr(*, quiet: bool = False) -> AbstractContextManager[ProgressListener]:
    """Return a display for a terminal, plain lines for other outputs, or silence if `quiet`."""
    if quiet:
        return nullcontext(ProgressListener())
    can_draw = sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
    if can_draw:
        return ProgressDisplay()
    return nullcontext(ProgressLines())
