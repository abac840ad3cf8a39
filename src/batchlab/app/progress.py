"""Progress: the state of a running command, as lines of text for a terminal or a notebook."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from datetime import timedelta

from batchlab.records.estimate import Reason
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.trial import Trial
from batchlab.words.catalogue import text
from batchlab.words.reasons import reason_text


class ProgressState(ProgressListener):
    """A listener that stores a command's progress in attributes, for displays to read."""

    def __init__(self) -> None:
        """Start the clock, with no progress yet."""
        self.name = ""  # The running command and its subject, such as "sweep mine".
        self.stages: tuple[str, ...] = ()  # All stages in order; empty if there are no stages.
        self.stage = ""  # The current stage: one of `stages`, or another text.
        self.runs: list[str] = []  # Lines of text: which runs the command waits for, and why.
        self.lead = ""  # The best configuration until now, in words; "" if unknown.
        self.doing = ""  # The current work in words.
        self._began_s = time.monotonic()
        # The time at which the budget started, by `time.monotonic()`, and the budget in seconds.
        self._budget: tuple[float, float] | None = None
        self._done_fraction: float | None = None
        # The time at which the current stage is expected to end, by `time.monotonic()`.
        self._ends_s: float | None = None

    def begins(self, *, command: str, subject: str, stages: Sequence[str]) -> None:
        """Store the command, its subject and its stages."""
        self.name, self.stages = f"{command} {subject}".strip(), tuple(stages)

    def phase(self, text: str) -> None:
        """Store the new stage, and clear the progress of the previous stage."""
        self.stage, self.runs, self.doing = text, [], ""
        self._done_fraction = self._ends_s = None

    def budget(self, *, spent_s: float, budget_s: float) -> None:
        """Store the spent seconds and the total seconds of the budget."""
        self._budget = (time.monotonic() - spent_s, budget_s)

    def asked(self, trials: Sequence[Trial], why: Reason) -> None:
        """Store the runs that the command waits for."""
        self.runs = [f"now: {_trials_text(trials)}", f"why: {reason_text(why)}"]

    def best(self, batch_size: int, learning_rate: float) -> None:
        """Store the configuration that leads at present."""
        best = "best so far: batch size {size} at learning rate {rate:rate}"
        self.lead = text(best, size=batch_size, rate=learning_rate)

    def progress(self, *, done_fraction: float, left_s: float | None, text: str) -> None:
        """Store the fraction done, the seconds left and a text on the current work."""
        self._done_fraction, self.doing = min(1.0, max(0.0, done_fraction)), text
        self._ends_s = None if left_s is None else time.monotonic() + left_s

    @property
    def elapsed_s(self) -> float:
        """Seconds since this object was created, at the start of the command."""
        return time.monotonic() - self._began_s

    @property
    def spent(self) -> tuple[float, float] | None:
        """The spent and the total seconds of the budget; None if there is no budget."""
        if self._budget is None:
            return None
        began_s, budget_s = self._budget
        return min(budget_s, time.monotonic() - began_s), budget_s

    @property
    def done_fraction(self) -> float | None:
        """The spent fraction of the budget; without a budget, the fraction of the work done."""
        if (spent := self.spent) is not None:
            return spent[0] / spent[1]
        return self._done_fraction

    @property
    def left_s(self) -> float | None:
        """Seconds until the current stage's work is expected to end; None if unknown."""
        if self._ends_s is None:
            return None
        return max(0.0, self._ends_s - time.monotonic())


_LONGEST_BAR = 30


def progress_lines(state: ProgressState, width: int, *, ascii_only: bool = False) -> list[str]:
    """Return the lines of a progress display: the stage, a progress bar, and details if known.

    The details are the leading configuration and the current work. Lines are cut after `width`
    characters.
    """
    lines = [stage_text(state), _bar_line(state, width, ascii_only=ascii_only)]
    if state.lead:
        lines.append(state.lead)
    if state.doing and not state.runs:
        lines.append(f"now: {state.doing}")
    lines += state.runs
    return [line[:width] for line in lines]


def stage_text(state: ProgressState) -> str:
    """Return command and stage, such as "sweep mine, stage 2 of 2: training 6 trials"."""
    name, stage = state.name, state.stage or "starting"
    if stage in state.stages:
        number = state.stages.index(stage) + 1
        return f"{name}, stage {number} of {len(state.stages)}: {stage}"
    return f"{name}: {stage}"


def time_text(state: ProgressState) -> str:
    """Return the spent and the total budget, or else the time left, or else the elapsed time."""
    if state.spent is not None:
        spent, budget = map(clock_text, state.spent)
        return f"{spent} of {budget}"
    if state.left_s is not None:
        return f"{clock_text(state.left_s)} left"
    return clock_text(state.elapsed_s)


def clock_text(seconds: float) -> str:
    """Write seconds as hours, minutes and seconds, such as "0:01:38"."""
    return str(timedelta(seconds=round(seconds)))


def _bar_line(state: ProgressState, width: int, *, ascii_only: bool) -> str:
    clock, fraction = time_text(state), state.done_fraction
    if fraction is None:
        return clock
    after = f"  {100 * fraction:3.0f} %  {clock}"
    length = min(_LONGEST_BAR, max(0, width - len(f"[]{after}")))
    full, empty = "#-" if ascii_only else "█░"
    n_full = int(fraction * length)
    return f"[{full * n_full}{empty * (length - n_full)}]{after}"


def _trials_text(trials: Sequence[Trial]) -> str:
    """Write the first of some trials in words, and the number of the others."""
    first, n_others = trials[0], len(trials) - 1
    words = text(
        "batch size {size}, learning rate {rate:rate}, seed {seed}",
        size=first.batch_size,
        rate=first.learning_rate,
        seed=first.seed,
    )
    if n_others:
        words += text(", and {n:one more run|# more runs}", n=n_others)
    return words


class ProgressLines(ProgressState):
    """Prints a line per stage and per warning to a log, a pipe or a notebook."""

    def phase(self, text: str) -> None:
        """Print the new stage, with the spent part of the budget or, if there is none, the time."""
        super().phase(text)
        print(f"{stage_text(self)} ({time_text(self)})", file=sys.stderr, flush=True)

    def warning(self, text: str) -> None:
        """Print the warning."""
        print(f"warning: {text}", file=sys.stderr, flush=True)


def listener_or_notebook(listener: ProgressListener | None) -> ProgressListener:
    """Return the given listener; if None, a listener that prints only in notebooks."""
    if listener is None and "ipykernel" in sys.modules:
        return ProgressLines()
    return listener or ProgressListener()
