"""The answer of an advice on one screen of a terminal, and the steps that led to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from batchlab.advice.advice import Advice
from batchlab.records.estimate import Reason
from batchlab.records.study import Study
from batchlab.report.advice_bars import bars
from batchlab.report.advice_claims import advice_sentences
from batchlab.report.advice_commands import script_lines
from batchlab.report.advice_tables import (
    candidates_table,
    expected_table,
    side_by_side,
)
from batchlab.report.text import Sentence, quantity_text, text_width, whole_sentence, wrapped_lines
from batchlab.words.catalogue import plural, text
from batchlab.words.reasons import reason_text

WIDTH = 100


MOST_LINES = 40


_LABEL_WIDTH = 15


# On a narrower terminal a label has a line of its own.
_ROOM_FOR_LABELS = 60


_LEAST_CAVEATS = 2  # lines: how many there are, and a blank one


# Which sentences stand beside the answer on a screen and in a notebook; the page has all of them.
SCREEN_TOPICS = (
    "how sure",
    "what would settle it",
    "also fine",
    "where it ends",
    "gain",
    "from the batch size alone",
    "when to stop",
    "break-even",
)


_SHORT = {
    "from the batch size alone": "batch alone",
    "what would settle it": "to settle it",
}


def advice_text(advice: Advice, *, study: Study, report: Path | None) -> str:
    """The answer on one screen.

    Args:
        advice: the advice.
        study: what it is about, and the command that asked.
        report: the page that was written, None: none.

    Returns:
        At most 40 lines, as wide as the terminal, else 100 where words can be wrapped, ended by a
        newline; on a narrow terminal so many more lines as it has fewer columns. Caveats that have
        no room are counted.
    """
    most_lines = MOST_LINES * WIDTH // text_width(WIDTH)
    said = {sentence.topic: sentence for sentence in advice_sentences(advice, study)}
    first = [*_wrapped(str(said["answer"]))]
    if (lead := said.pop("why", None)) is not None:
        first += _wrapped(str(lead))
    parts = [first]
    if (compared := side_by_side(advice)) is not None:
        parts.append(compared.to_text().splitlines())
    elif advice.expected is not None:
        parts.append(expected_table(advice.expected).to_text().splitlines())
    if advice.missing is None:
        said.pop("how sure", None)  # the bounds below say it
    found = _findings(said)
    paste = []
    if advice.recommendation is not None:
        paste = [
            text("paste:"),
            *(f"  {line}" for line in script_lines(advice.recommendation)),
        ]
    model = said.get("trained model")
    last = _cost(advice, report, model="" if model is None else model.command)

    def room() -> int:
        taken = sum(len(part) + 1 for part in (*parts, found, paste) if part)
        return most_lines - taken - len(last)

    # What has no room is on the page.
    picture = bars(advice)
    if not picture and advice.recommendation is None:
        picture = candidates_table(advice).to_text().splitlines()
    if len(picture) + _LEAST_CAVEATS < room():
        parts.append(picture)
    caveats = _caveats(advice.caveats, most=room() - 1)
    parts += [found, paste, caveats, last]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def explain_text(advice: Advice) -> str:
    """What was done and why, one step a line with the seconds spent until then."""
    if not advice.steps:
        return text("No step was recorded.") + "\n"
    width = max(len(quantity_text("train_s", step.spent_s)) for step in advice.steps)
    return "".join(
        f"{quantity_text('train_s', step.spent_s):>{width}}  "
        f"{reason_text(step.did)}: {reason_text(step.why)}\n"
        for step in advice.steps
    )


def _findings(said: dict[str, Sentence]) -> list[str]:
    return [
        line
        for topic in SCREEN_TOPICS
        if topic in said
        for line in _labelled(text(_SHORT.get(topic, topic)), said[topic])
    ]


def _caveats(caveats: Sequence[Reason], *, most: int) -> list[str]:
    """As many caveats as `most` lines hold, and how many there are beyond them."""
    lines: list[str] = []
    for number, caveat in enumerate(caveats):
        more = _wrapped(f"- {whole_sentence(caveat)}", indent="  ")
        left = len(caveats) - number
        if len(lines) + len(more) + (left > 1) > most:
            rest = plural(
                "{n} more caveat: see the report", "{n} more caveats: see the report", left
            )
            return [*lines, f"- {rest}"]
        lines += more
    return lines


def _cost(advice: Advice, report: Path | None, *, model: str) -> list[str]:
    """What it took, where more is to be read, and how to get the model that was trained."""
    more = [] if report is None else [text("report: {file}", file=str(report))]
    if model:
        more.append(text("trained model: {command}", command=model))
    return [*_wrapped(cost_text(advice)), *_wrapped("; ".join(more))]


def cost_text(advice: Advice) -> str:
    """How many runs and seconds it took, of how many."""
    spent = plural(
        "{n} training run, {spent_s:train_s} of {budget_s:train_s} spent",
        "{n} training runs, {spent_s:train_s} of {budget_s:train_s} spent",
        advice.n_trials,
        spent_s=advice.spent_s,
        budget_s=advice.budget_s,
    )
    if advice.trainings is None:  # a time was asked for
        return spent
    trainings = plural(
        "the time of one of your trainings",
        "the time of {trainings:.4g} of your trainings",
        1 if advice.trainings == 1 else 2,  # a part of one takes the plural, as half a dozen does
        trainings=advice.trainings,
    )
    return text("{spent} ({trainings})", spent=spent, trainings=trainings)


def _labelled(label: str, said: Sentence) -> list[str]:
    """The words beside their label, and below them the command, in one piece."""
    if text_width(WIDTH) < _ROOM_FOR_LABELS:
        lines = [label, *_wrapped(str(said), first="  ", indent="  ")]
        return [*lines, f"  {said.command}"] if said.command else lines
    indent = " " * (_LABEL_WIDTH + 1)
    lines = _wrapped(str(said), first=f"{label:<{_LABEL_WIDTH}} ", indent=indent)
    return [*lines, f"{indent}{said.command}"] if said.command else lines


def _wrapped(said: str, *, first: str = "", indent: str = "") -> list[str]:
    return wrapped_lines(said, text_width(WIDTH), first=first, indent=indent)


def advice_headline(advice: Advice, *, study: Study) -> str:
    """The answer again and the command that comes next, for where a long text ends."""
    said = {sentence.topic: sentence for sentence in advice_sentences(advice, study)}
    lines = _wrapped(str(said["answer"]))
    follow_up = said.get("what would settle it")
    if follow_up is not None and follow_up.command:
        lines.append(text("to settle it: {command}", command=follow_up.command))
    return "\n".join(lines) + "\n"
