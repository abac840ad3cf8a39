"""ProgressLines: where a command is, in lines that fit: what is least needed goes first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from batchlab.records.run import RunsAsked
from batchlab.report.parts.best_so_far_text import best_so_far_wordings
from batchlab.report.progress.state import ProgressState
from batchlab.words.catalogue import listing, number_text, plural, text
from batchlab.words.reasons import reason_text

_LONGEST_BAR = 30
_FULL, _EMPTY = "█", "░"
_FULL_ASCII, _EMPTY_ASCII = "#", "-"


def progress_lines(state: ProgressState, width: int, *, ascii_only: bool = False) -> list[str]:
    """Stage, bar, what leads, what is run and why, each in a line or left out.

    Args:
        state: where the command is.
        width: no line is longer, in characters; from 40 on none is cut.
        ascii_only: draw the bar with ASCII characters.
    """
    lines = [
        _fitting(_head(state), width),
        _bar_line(state, width, ascii_only=ascii_only),
        *([_fitting(best_so_far_wordings(state.lead), width)] if state.lead is not None else []),
        *_now(state, width),
    ]
    return [line[:width] for line in lines if line]


def stage_text(state: ProgressState) -> str:
    """Where it is, in one line of any length: what a pipe is told."""
    name = f"{state.command} {state.subject}".strip()
    number = state.stage_number
    if not name:
        return state.phase
    if number is None:
        return text("{name}: {doing}", name=name, doing=state.phase)
    return text(
        "{name}, stage {number} of {n}: {doing}",
        name=name,
        number=number,
        n=len(state.stages),
        doing=state.phase,
    )


def clock_text(seconds: float) -> str:
    """Seconds as a clock shows them: "8s", "1m38s", "3m", "2h05m"."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        if not minutes:
            return text("{hours}h", hours=hours)
        return text("{hours}h{minutes:02d}m", hours=hours, minutes=minutes)
    if not minutes:
        return text("{seconds}s", seconds=rest)
    if not rest:
        return text("{minutes}m", minutes=minutes)
    return text("{minutes}m{seconds:02d}s", minutes=minutes, seconds=rest)


def _fitting(wordings: Iterator[str], width: int) -> str:
    """The first wording that fits, or the last."""
    said = ""
    for said in wordings:
        if len(said) <= width:
            break
    return said


def _head(state: ProgressState) -> Iterator[str]:
    name = f"{state.command} {state.subject}".strip()
    doing = state.phase or text("starting")
    number = state.stage_number
    if number is not None:
        of = {"number": number, "n": len(state.stages)}
        yield text("{name}   stage {number} of {n}: {doing}", name=name, doing=doing, **of)
        yield text("stage {number} of {n}: {doing}", doing=doing, **of)
        yield text("{number}/{n}: {doing}", doing=doing, **of)
    elif name:
        yield text("{name}   {doing}", name=name, doing=doing)
    yield doing


def _bar_line(state: ProgressState, width: int, *, ascii_only: bool) -> str:
    after = _time(state)
    fraction = state.done_fraction
    if fraction is None:
        return after
    full, empty = (_FULL_ASCII, _EMPTY_ASCII) if ascii_only else (_FULL, _EMPTY)
    percent = f"{100 * fraction:3.0f} %"
    room = width - len(f"[]  {percent}  {after}")
    if room < 5:
        return f"{percent}  {after}"
    length = min(_LONGEST_BAR, room)
    n_full = int(fraction * length)
    return f"[{full * n_full}{empty * (length - n_full)}]  {percent}  {after}".rstrip()


def _time(state: ProgressState) -> str:
    budget, left_s = state.budget, state.left_s
    if budget is not None:
        spent_s, budget_s = budget
        return text("{spent} of {budget}", spent=clock_text(spent_s), budget=clock_text(budget_s))
    if left_s is not None:
        return text("{left} left", left=clock_text(left_s))
    return clock_text(state.elapsed_s)


def _now(state: ProgressState, width: int) -> Iterator[str]:
    if state.runs is None:
        full, short = state.doing
        if full:
            yield _fitting((text("now: {doing}", doing=each) for each in (full, short)), width)
        return
    why = reason_text(state.runs.why)
    wordings = [text("now: {doing}", doing=each) for each in _runs(state.runs)]
    together = text("{now} — {why}", now=wordings[0], why=why)
    if len(together) <= width:
        yield together
        return
    yield _fitting(iter(wordings), width)
    why = text("why: {why}", why=why)
    if len(why) <= width:
        yield why


def _runs(runs: RunsAsked) -> Iterator[str]:
    sizes = _several([str(size) for size in runs.batch_sizes])
    rates = _several([number_text(rate, "rate") for rate in runs.learning_rates])
    n_seeds = len(runs.seeds)
    seeds = plural("seed {seeds}", "seeds {seeds}", n_seeds, seeds=_several(runs.seeds))
    if len(runs.batch_sizes) > 1:  # each has rates of its own
        yield text("batch sizes {sizes}, {seeds}", sizes=sizes, seeds=seeds)
        yield text("batch sizes {sizes}", sizes=sizes)
        yield text("{n} batch sizes", n=len(runs.batch_sizes))
        return
    of_rates = plural(
        "learning rate {rates}", "learning rates {rates}", len(runs.learning_rates), rates=rates
    )
    named = {"size": sizes, "rates": rates, "seeds": seeds}
    yield text("batch size {size}, {of_rates}, {seeds}", of_rates=of_rates, **named)
    yield text("batch size {size} at {rates}, {seeds}", **named)
    yield text("{size} at {rates}, {seeds}", **named)
    yield text("{size} at {rates}", **named)
    yield text("batch size {size}", **named)


def _several(parts: Sequence[object]) -> str:
    said = [str(part) for part in parts]
    return (
        listing(said) if len(said) < 4 else text("{first} to {last}", first=said[0], last=said[-1])
    )
