"""An advice on one screen of a terminal and in a notebook's cell, and the steps that led to it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from batchlab.advice.advice import Advice
from batchlab.records.estimate import Reason
from batchlab.records.study import Study
from batchlab.report.advice_claims import advice_sentences
from batchlab.report.advice_commands import lines_to_paste
from batchlab.report.advice_rows import ShownCost, answer_rows
from batchlab.report.advice_tables import answer_table, row_name
from batchlab.report.advice_words import objective_words, target_text
from batchlab.report.table import Section
from batchlab.report.text import (
    Sentence,
    quantity_text,
    table_width,
    text_width,
    whole_sentence,
    wrapped_lines,
)
from batchlab.words.catalogue import capitalized, listing, plural, text
from batchlab.words.reasons import reason_text

MOST_LINES = 40
_NO_LIMIT = 1000
_LABEL_WIDTH = 15
_ROOM_FOR_LABELS = 60  # on a narrower terminal a label has a line of its own
_LEAST_CAVEATS = 2  # lines: how many there are, and a blank one

# Which sentences stand beside the answer on a screen and in a notebook, and their short labels;
# the page has all of them.
_TOPICS = {
    "how sure": "how sure",
    "also fine": "also fine",
    "ends best": "ends best",
    "where it ends": "where it ends",
    "gain": "gain",
    "from the batch size alone": "batch alone",
    "when to stop": "when to stop",
    "break-even": "break-even",
}


def advice_sections(advice: Advice) -> Iterator[Section]:
    """An advice for a notebook's cell: the answer first."""
    said = _said(advice, None)
    words = {topic: f"{each} {each.command}".rstrip() for topic, each in said.items()}
    why = (words["why"],) if "why" in words else ()
    yield Section(title=words["answer"], facts=why, table=answer_table(advice))
    yield Section(drawing=tuple(bars(advice)))
    findings = [words[topic] for topic in _TOPICS if topic in words]
    yield Section(facts=(*findings, f"{cost_text(advice)}."))
    if advice.caveats:
        yield Section(title=text("Caveats"), facts=tuple(map(whole_sentence, advice.caveats)))


def advice_text(advice: Advice, *, study: Study, report: Path | None) -> str:
    """The answer on one screen, and where the page is that was written, if one was.

    On a terminal these are at most 40 lines as wide as that, on a narrow one so many more as it has
    fewer columns: what is told last is left out where it has no room, and caveats are counted.
    Else all is told, 100 wide where words can be wrapped.
    """
    said = _said(advice, study)
    answer = [*_wrapped(str(said["answer"])), *_wrapped(str(said.get("why", "")))]
    rows = list(answer_rows(advice))
    table = answer_table(advice, [row for row in rows if row.is_tried])
    untried = [str(row.candidate.batch_size) for row in rows if not row.is_tried]
    compared = [*_wrapped(f"{table.caption}:"), *table.to_text(width=WIDTH).splitlines()]
    if untried:
        compared += _wrapped(text("Not trained: {sizes}.", sizes=listing(untried)))
    told = [_labelled(text(_TOPICS[topic]), said[topic]) for topic in _TOPICS if topic in said]
    paste = []
    if advice.recommendation is not None:
        lines = lines_to_paste(advice.recommendation, study)
        paste = [text("paste:"), *(f"  {line}" for line in lines)] if lines else []
    last = _cost(advice, report, said.get("trained model"))
    columns = table_width()  # None: there is no screen
    room = (MOST_LINES * WIDTH // columns if columns else _NO_LIMIT) - len(last)
    room -= sum(len(part) + 1 for part in (answer, compared, paste) if part)
    while told and sum(map(len, told)) + 1 + _LEAST_CAVEATS > room:
        told.pop()  # what has no room is on the page
    found = list(itertools.chain(*told))
    room -= len(found) + bool(found)
    picture = bars(advice)
    if len(picture) + _LEAST_CAVEATS >= room:
        picture = []
    caveats = _caveats(advice.caveats, most=room - 1 - (len(picture) + 1 if picture else 0))
    parts = (answer, compared, picture, found, paste, caveats, last)
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def advice_headline(advice: Advice, *, study: Study) -> str:
    """The answer again, for where a long text ends."""
    return "\n".join(_wrapped(str(_said(advice, study)["answer"]))) + "\n"


def explain_text(advice: Advice) -> str:
    """What was done and why, one step a line with the seconds spent until then."""
    if not advice.steps:
        return text("No step was recorded.") + "\n"
    times = [quantity_text("train_s", step.spent_s) for step in advice.steps]
    width = max(map(len, times))
    return "".join(
        f"{time:>{width}}  {reason_text(step.did)}: {reason_text(step.why)}\n"
        for time, step in zip(times, advice.steps, strict=True)
    )


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


def _said(advice: Advice, study: Study | None) -> dict[str, Sentence]:
    return {sentence.topic: sentence for sentence in advice_sentences(advice, study)}


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


def _cost(advice: Advice, report: Path | None, model: Sentence | None) -> list[str]:
    """What it took, where more is to be read, and how to get the model that was trained."""
    more = [] if report is None else [text("report: {file}", file=str(report))]
    if model is not None:
        more.append(text("trained model: {command}", command=model.command))
    return [*_wrapped(cost_text(advice)), *_wrapped("; ".join(more))]


def _labelled(label: str, said: Sentence) -> list[str]:
    """The words beside their label, and below them the command, in one piece."""
    if text_width(WIDTH) < _ROOM_FOR_LABELS:
        indent = "  "
        lines = [label, *_wrapped(str(said), first=indent, indent=indent)]
    else:
        indent = " " * (_LABEL_WIDTH + 1)
        lines = _wrapped(str(said), first=f"{label:<{_LABEL_WIDTH}} ", indent=indent)
    return [*lines, f"{indent}{said.command}"] if said.command else lines


def _wrapped(said: str, *, first: str = "", indent: str = "") -> list[str]:
    return wrapped_lines(said, text_width(WIDTH), first=first, indent=indent)


WIDTH = 100
_LONGEST, _SHORTEST = 44, 8  # characters of the longest bar
_SIZE = 5
_BETWEEN = 2 + 2 + 2  # between size, bar, value and note
_EIGHTHS = " ▏▎▍▌▋▊▉"


def bars(advice: Advice) -> list[str]:
    """A title and a bar a batch size, from 0 on, so that lengths can be compared.

    Returns:
        Nothing for a metric, whose differences such bars would hide, or of fewer than two figures.
    """
    found = list(_bars(advice))
    if advice.target is None or advice.objective == "quality" or len(found) < 2:
        return []
    words = objective_words(advice)
    title = text(
        "{figure}, {target}, by batch size:",
        figure=capitalized(words.figure),
        target=target_text(advice.target),
    )
    values = [_value(words.quantity, cost) for _, _, cost in found]
    size, wide = max(_SIZE, *(len(str(n)) for n, _, _ in found)), max(map(len, values))
    beside = size + wide + max(len(note) for _, note, _ in found) + _BETWEEN
    room = max(_SHORTEST, min(_LONGEST, text_width(WIDTH) - beside))
    longest = max(cost.value for _, _, cost in found)
    lines = [
        f"{n:>{size}}  {_drawn(cost, longest, room):<{room}}  {value:>{wide}}  {note}".rstrip()
        for (n, note, cost), value in zip(found, values, strict=True)
    ]
    return [*wrapped_lines(title, text_width(WIDTH)), *lines]


def _bars(advice: Advice) -> Iterator[tuple[int, str, ShownCost]]:
    """Yield size, note and cost of the table's rows; of those without the target only yours."""
    for row in answer_rows(advice):
        is_own = row.at is not None and row.at.is_same(advice.reference)
        if row.cost is not None and (is_own or not row.cost.is_bound):
            yield row.candidate.batch_size, row_name(advice, row.at), row.cost


def _value(quantity: str, cost: ShownCost) -> str:
    value = quantity_text(quantity, cost.value)
    return f"> {value}" if cost.is_bound else value


def _drawn(cost: ShownCost, longest: float, room: int) -> str:
    """As long as its share of the longest, in eighths of a character; a bound ends in an arrow."""
    eighths = max(1, round(cost.value / longest * room * 8))
    if cost.is_bound:
        return "█" * max(0, eighths // 8 - 1) + "▶"
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
