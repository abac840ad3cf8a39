"""NotebookProgress: where a command is, in one output of a notebook's cell."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from batchlab.records.progress_listener import ProgressListener, Silent
from batchlab.records.run import RunsAsked
from batchlab.records.study import BestSoFar
from batchlab.report.progress.lines import clock_text, progress_lines
from batchlab.report.progress.state import ProgressState
from batchlab.words.catalogue import text as in_words

_WIDTH = 88
_EVERY_S = 0.5


class NotebookProgress(Silent):
    """One output of a notebook's cell, written again as the work gets on."""

    def __init__(
        self, display: Callable[..., Any], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Nothing is shown before the command begins.

        Args:
            display: IPython's own `display`.
            clock: a monotonic clock, in seconds.
        """
        self._display = display
        self._clock = clock
        self._state = ProgressState(clock=clock)
        self._warnings: list[str] = []
        self._shown_s = 0.0
        self._told_s = 0.0
        self._handle: Any = None

    def begins(self, *, command: str, subject: str, stages: Sequence[str]) -> None:
        """Show what it is."""
        self._state.begins(command, subject, stages)
        self._show(at_once=True)

    def phase(self, text: str) -> None:
        """Show what begins."""
        self._state.enter(text)
        self._show(at_once=True)

    def budget(self, *, spent_s: float, budget_s: float) -> None:
        """Let the bar go by the clock."""
        self._state.spend(spent_s, budget_s)

    def asked(self, runs: RunsAsked) -> None:
        """Show them."""
        self._state.runs = runs
        self._show()

    def best(self, best: BestSoFar | None) -> None:
        """Show it."""
        self._state.lead = best
        self._show()

    def progress(
        self, *, done_fraction: float, left_s: float | None, text: str, short: str = ""
    ) -> None:
        """Move the bar, and show what is done."""
        self._state.work(done_fraction, left_s, text, short)
        self._show()

    def warning(self, text: str) -> None:
        """Show it with the others, for as long as the cell has its output."""
        self._warnings.append(text)
        self._show(at_once=True)

    def ends(self) -> None:
        """Leave one line, and the warnings."""
        if self._handle is None:
            return
        name = f"{self._state.command} {self._state.subject}"
        # The cell may go on long after the command.
        took = in_words("{name}: {took}", name=name, took=clock_text(self._told_s))
        self._write([took, *self._said()])

    def _said(self) -> list[str]:
        return [in_words("warning: {text}", text=text) for text in self._warnings]

    def _show(self, *, at_once: bool = False) -> None:
        self._told_s = self._state.elapsed_s
        if at_once or self._clock() - self._shown_s >= _EVERY_S:
            self._shown_s = self._clock()
            self._write([*progress_lines(self._state, _WIDTH), *self._said()])

    def _write(self, lines: Sequence[str]) -> None:
        plain = "\n".join(lines)
        both = {"text/plain": plain, "text/html": f"<pre>{html.escape(plain)}</pre>"}
        if self._handle is None:
            self._handle = self._display(both, raw=True, display_id=True)
        else:
            self._handle.update(both, raw=True)


def notebook_progress() -> NotebookProgress | None:
    """For the notebook that this process runs in; None: it runs in none.

    IPython is never loaded for it: where it is not, there is no notebook.
    """
    interactive = sys.modules.get("IPython")
    shell = None if interactive is None else interactive.get_ipython()
    if shell is None or getattr(shell, "kernel", None) is None:  # IPython in a terminal has none
        return None
    progress = NotebookProgress(import_module("IPython.display").display)

    def end(*_: object) -> None:
        shell.events.unregister("post_run_cell", end)
        progress.ends()

    shell.events.register("post_run_cell", end)  # also where the cell is interrupted
    return progress


def listener_or_notebook(listener: ProgressListener | None) -> ProgressListener:
    """The listener given, or one for the notebook that asks, or nobody."""
    return listener or notebook_progress() or Silent()
