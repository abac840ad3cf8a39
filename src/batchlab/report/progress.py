"""Progress: what a command has reported so far, in lines for a terminal or a notebook."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any

from batchlab.records.progress_listener import ProgressListener, Silent
from batchlab.records.run import RunsAsked
from batchlab.records.study import BestSoFar
from batchlab.report.text import best_so_far_text
from batchlab.words.catalogue import listing, number_text, plural, text
from batchlab.words.reasons import reason_text


class ProgressState(Silent):
    """A listener that keeps the progress of a command in its attributes, for others to show.

    Attributes:
        command: the command that runs; "" before it has begun.
        subject: what it is about.
        stages: its stages, in order; empty for a command that has none.
        stage: what it is at, one of the stages or something else.
        runs: the training runs that it waits for, or None if it reports none.
        lead: what leads so far, or None if nothing does yet.
        doing: what is done just now.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin without any report; `clock` is monotonic, in seconds."""
        self.command = ""
        self.subject = ""
        self.stages: tuple[str, ...] = ()
        self.stage = ""
        self.runs: RunsAsked | None = None
        self.lead: BestSoFar | None = None
        self.doing = ""
        self._clock = clock
        self._began_s = clock()
        self._budget: tuple[float, float, float] | None = None
        self._part: tuple[float, float | None, float] | None = None

    def changed(self, *, at_once: bool = False) -> None:
        """Show the change with the next report, or at once; a subclass does it."""

    # ---- reports of the command

    def begins(self, *, command: str, subject: str, stages: Sequence[str]) -> None:
        """Keep the command, its subject and its stages."""
        self.command, self.subject, self.stages = command, subject, tuple(stages)
        self.changed(at_once=True)

    def phase(self, text: str) -> None:
        """Begin a stage and forget what was done in the last one."""
        self.stage, self.runs, self.doing, self._part = text, None, "", None
        self.changed(at_once=True)

    def budget(self, *, spent_s: float, budget_s: float) -> None:
        """Keep it. Seconds spent of one budget never fall: an earlier report may know of more."""
        if (known := self.spent) is not None and known[1] == budget_s:
            spent_s = max(spent_s, known[0])
        self._budget = (spent_s, budget_s, self._clock())

    def asked(self, runs: RunsAsked) -> None:
        """Keep the runs that the command waits for."""
        self.runs = runs
        self.changed()

    def best(self, best: BestSoFar | None) -> None:
        """Keep what leads so far."""
        self.lead = best
        self.changed()

    def progress(self, *, done_fraction: float, left_s: float | None, text: str) -> None:
        """Keep how far the work is, and what is being done."""
        self._part = (done_fraction, left_s, self._clock())
        self.doing = text
        self.changed()

    # ---- its state now

    @property
    def name(self) -> str:
        """The command and its subject."""
        return f"{self.command} {self.subject}".strip()

    @property
    def stage_number(self) -> int | None:
        """The number of its stage, from 1 on; None if it is at none of the stages."""
        return self.stages.index(self.stage) + 1 if self.stage in self.stages else None

    @property
    def elapsed_s(self) -> float:
        """Seconds since it began."""
        return self._clock() - self._began_s

    @property
    def spent(self) -> tuple[float, float] | None:
        """Seconds spent of a budget by now, and the whole budget; None if there is no budget."""
        if self._budget is None:
            return None
        spent_s, budget_s, told_s = self._budget
        return min(budget_s, spent_s + self._clock() - told_s), budget_s

    @property
    def done_fraction(self) -> float | None:
        """The fraction done: of the budget if there is one, else of the planned work."""
        if (spent := self.spent) is not None:
            return spent[0] / spent[1]
        return None if self._part is None else min(1.0, max(0.0, self._part[0]))

    @property
    def left_s(self) -> float | None:
        """Seconds that the planned work still takes; None if not known yet."""
        if self._part is None:
            return None
        _, left_s, told_s = self._part
        if left_s is None:
            return None
        return max(0.0, left_s - (self._clock() - told_s))


_LONGEST_BAR = 30


def progress_lines(state: ProgressState, width: int, *, ascii_only: bool = False) -> list[str]:
    """Return the stage, the bar, what leads, what is run and why, one line each if known.

    A line longer than `width` characters is cut.
    """
    lines = [
        _head(state),
        _bar_line(state, width, ascii_only=ascii_only),
        "" if state.lead is None else best_so_far_text(state.lead),
        *_now(state),
    ]
    return [line[:width] for line in lines if line]


def stage_text(state: ProgressState) -> str:
    """Return the stage in one line of any length, for a pipe."""
    stage = _stage(state)
    if not state.name:
        return stage
    between = ": " if state.stage_number is None else ", "
    return text("{name}{between}{stage}", name=state.name, between=between, stage=stage)


def _stage(state: ProgressState) -> str:
    doing, number = state.stage or text("starting"), state.stage_number
    if number is None:
        return doing
    return text("stage {number} of {n}: {doing}", number=number, n=len(state.stages), doing=doing)


def clock_text(seconds: float) -> str:
    """Write seconds as a clock shows them: "8s", "1m38s", "3m", "2h05m"."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    if hours:
        return text("{h}h{m:02d}m", h=hours, m=m) if m else text("{h}h", h=hours)
    if minutes:
        return text("{m}m{s:02d}s", m=minutes, s=s) if s else text("{m}m", m=minutes)
    return text("{s}s", s=s)


def _head(state: ProgressState) -> str:
    stage = _stage(state)
    return text("{name}   {stage}", name=state.name, stage=stage) if state.name else stage


def _bar_line(state: ProgressState, width: int, *, ascii_only: bool) -> str:
    after = _time(state)
    fraction = state.done_fraction
    if fraction is None:
        return after
    full, empty = "#-" if ascii_only else "█░"
    percent = f"{100 * fraction:3.0f} %"
    room = width - len(f"[]  {percent}  {after}")
    if room < 5:
        return f"{percent}  {after}"
    length = min(_LONGEST_BAR, room)
    n_full = int(fraction * length)
    return f"[{full * n_full}{empty * (length - n_full)}]  {percent}  {after}".rstrip()


def _time(state: ProgressState) -> str:
    budget, left_s = state.spent, state.left_s
    if budget is not None:
        spent_s, budget_s = budget
        return text("{spent} of {budget}", spent=clock_text(spent_s), budget=clock_text(budget_s))
    if left_s is not None:
        return text("{left} left", left=clock_text(left_s))
    return clock_text(state.elapsed_s)


def _now(state: ProgressState) -> Iterator[str]:
    if state.runs is None:
        if state.doing:
            yield text("now: {doing}", doing=state.doing)
        return
    yield text("now: {doing}", doing=_runs(state.runs))
    yield text("why: {why}", why=reason_text(state.runs.why))


def _runs(runs: RunsAsked) -> str:
    sizes = _several([str(size) for size in runs.batch_sizes])
    rates = _several([number_text(rate, "rate") for rate in runs.learning_rates])
    seeds = plural("seed {s}", "seeds {s}", len(runs.seeds), s=_several(runs.seeds))
    if len(runs.batch_sizes) > 1:  # each size has its own rates
        return text("batch sizes {sizes}, {seeds}", sizes=sizes, seeds=seeds)
    n = len(runs.learning_rates)
    of_rates = plural("learning rate {rates}", "learning rates {rates}", n, rates=rates)
    return text(
        "batch size {size}, {of_rates}, {seeds}", size=sizes, of_rates=of_rates, seeds=seeds
    )


def _several(parts: Sequence[object]) -> str:
    said = [str(part) for part in parts]
    if len(said) < 4:
        return listing(said)
    return text("{first} to {last}", first=said[0], last=said[-1])


_WIDTH = 88
_EVERY_S = 0.5


class NotebookProgress(ProgressState):
    """One output of a notebook's cell, rewritten as the work goes on."""

    def __init__(
        self, display: Callable[..., Any], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Show nothing before the command begins, and then use `display`, which is IPython's."""
        super().__init__(clock=clock)
        self._display = display
        self._warnings: list[str] = []
        self._shown_s = 0.0
        self._told_s = 0.0
        self._handle: Any = None

    def changed(self, *, at_once: bool = False) -> None:
        """Write the lines, but not too often."""
        self._told_s = self.elapsed_s
        if at_once or self._clock() - self._shown_s >= _EVERY_S:
            self._shown_s = self._clock()
            self._write([*progress_lines(self, _WIDTH), *self._said()])

    def warning(self, text: str) -> None:
        """Show a warning with the others, for as long as the cell has its output."""
        self._warnings.append(text)
        self.changed(at_once=True)

    def ends(self) -> None:
        """Leave one line, and the warnings."""
        if self._handle is None:
            return
        # The cell may go on long after the command.
        took = text("{name}: {took}", name=self.name, took=clock_text(self._told_s))
        self._write([took, *self._said()])

    def _said(self) -> list[str]:
        return [text("warning: {text}", text=each) for each in self._warnings]

    def _write(self, lines: Sequence[str]) -> None:
        plain = "\n".join(lines)
        both = {"text/plain": plain, "text/html": f"<pre>{html.escape(plain)}</pre>"}
        if self._handle is None:
            self._handle = self._display(both, raw=True, display_id=True)
        else:
            self._handle.update(both, raw=True)


def notebook_progress() -> NotebookProgress | None:
    """Return a listener for the notebook that this process runs in; None if it runs in none.

    IPython is never imported here: if it is not loaded yet, there is no notebook.
    """
    interactive = sys.modules.get("IPython")
    shell = None if interactive is None else interactive.get_ipython()
    if shell is None or getattr(shell, "kernel", None) is None:  # IPython in a terminal has none
        return None
    progress = NotebookProgress(import_module("IPython.display").display)

    def end(*_: object) -> None:
        shell.events.unregister("post_run_cell", end)
        progress.ends()

    shell.events.register("post_run_cell", end)  # also if the cell is interrupted
    return progress


def listener_or_notebook(listener: ProgressListener | None) -> ProgressListener:
    """Return the listener given, else one for the notebook that asks, else a silent one."""
    return listener or notebook_progress() or Silent()
