"""Advice text: the answer on one screen of a terminal, and the steps that led to it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from batchlab.advice.advice import Advice, Configuration
from batchlab.records.reason import Reason
from batchlab.records.study import WorkloadSummary
from batchlab.report.advice.script_lines import script_lines
from batchlab.report.advice.sentences import advice_sentences, whole_sentence
from batchlab.report.advice.tables import candidates_table, expected_table
from batchlab.report.parts.quantity_text import quantity_text
from batchlab.report.parts.sentence import Sentence
from batchlab.words.reasons import reason_text

WIDTH = 100
MOST_LINES = 40
_LABEL_WIDTH = 15
_NO_BREAK = "\u00a0"

# Which sentences stand on the screen beside the answer; the page has all of them.
_TOPICS = (
    "why",
    "what would settle it",
    "for now",
    "also fine",
    "gain",
    "of it from the batch size",
    "habit",
    "when to stop",
    "pay-back",
)
_SHORT = {"of it from the batch size": "of that, batch", "what would settle it": "to settle it"}


def advice_text(advice: Advice, *, workload: WorkloadSummary, report: Path | None) -> str:
    """The answer on one screen.

    Args:
        advice: the advice.
        workload: what it is about.
        report: the page that was written, None: none.

    Returns:
        At most 40 lines of at most 100 characters where words can be wrapped, ended by a newline.
        Caveats that have no room are counted.
    """
    said = {sentence.topic: sentence for sentence in advice_sentences(advice, workload)}
    parts = [_wrapped(str(said["answer"]))]
    if advice.recommendation is not None:
        parts.append(_settings(advice.recommendation))
    if advice.expected is not None:
        parts.append(expected_table(advice.expected).to_text().splitlines())
    if advice.verdict != "cannot_tell":
        said.pop("why", None)  # the bounds below say it
    parts.append(_findings(said))
    if advice.recommendation is not None:
        parts.append(["paste:", *(f"  {line}" for line in script_lines(advice.recommendation))])
    last = _cost(advice, report)
    table = [] if advice.recommendation else candidates_table(advice).to_text().splitlines()
    room = MOST_LINES - sum(len(part) + 1 for part in parts if part) - len(last)
    caveats = _caveats(advice.caveats, most=room - 1)
    room -= len(caveats) + 1 if caveats else 0
    if table and len(table) < room:
        parts.append(table)
    parts += [caveats, last]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def explain_text(advice: Advice) -> str:
    """What was done and why, one step a line with the seconds spent until then."""
    if not advice.steps:
        return "No step was recorded.\n"
    width = max(len(quantity_text("train_s", step.spent_s)) for step in advice.steps)
    return "".join(
        f"{quantity_text('train_s', step.spent_s):>{width}}  "
        f"{reason_text(step.did)}: {reason_text(step.why)}\n"
        for step in advice.steps
    )


def _settings(found: Configuration) -> list[str]:
    """What to set, a line each."""
    micro = (
        "whole"
        if found.accumulation_steps == 1
        else f"{found.accumulation_steps} micro-batches of {found.micro_batch_size}"
    )
    rows = [
        ("batch size", f"{found.batch_size} ({micro})"),
        ("learning rate", quantity_text("learning_rate", found.learning_rate)),
    ]
    return [f"{name:<{_LABEL_WIDTH}} {value}" for name, value in rows]


def _findings(said: dict[str, Sentence]) -> list[str]:
    return [
        line
        for topic in _TOPICS
        if topic in said
        for line in _labelled(_SHORT.get(topic, topic), str(said[topic]))
    ]


def _caveats(caveats: Sequence[Reason], *, most: int) -> list[str]:
    """As many caveats as `most` lines hold, and how many there are beyond them."""
    lines: list[str] = []
    for number, caveat in enumerate(caveats):
        more = _wrapped(f"- {whole_sentence(caveat)}", indent="  ")
        left = len(caveats) - number
        if len(lines) + len(more) + (left > 1) > most:
            return [*lines, f"- {left} more caveat{'s' if left > 1 else ''}: see the report"]
        lines += more
    return lines


def _cost(advice: Advice, report: Path | None) -> list[str]:
    """What it took, and where more is to be read."""
    runs = f"{advice.n_trials} training run{'s' if advice.n_trials != 1 else ''}"
    spent, budget = (quantity_text("train_s", s) for s in (advice.spent_s, advice.budget_s))
    lines = [f"{runs}, {spent} of {budget} spent"]
    return lines if report is None else [*lines, f"report: {report}"]


def _labelled(label: str, text: str) -> list[str]:
    return _wrapped(text, first=f"{label:<{_LABEL_WIDTH}} ", indent=" " * (_LABEL_WIDTH + 1))


def _wrapped(text: str, *, first: str = "", indent: str = "") -> list[str]:
    """Lines of the text; a percent sign stays with its number."""
    kept = text.replace(" %", _NO_BREAK + "%")
    lines = textwrap.wrap(kept, WIDTH, initial_indent=first, subsequent_indent=indent)
    return [line.replace(_NO_BREAK, " ") for line in lines]
