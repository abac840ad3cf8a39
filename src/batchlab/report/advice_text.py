"""An advice on one terminal screen and in a notebook cell, and the steps that led to it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from batchlab.advice.advice import Advice
from batchlab.records.study import Study
from batchlab.report.advice_answer import RESEARCH_TOPICS, advice_sentences
from batchlab.report.advice_commands import lines_to_paste, report_command
from batchlab.report.advice_rows import AnswerRow, answer_rows
from batchlab.report.advice_tables import answer_table, ranges_text, untried_text
from batchlab.report.advice_words import objective_words
from batchlab.report.table import Section, marked_table
from batchlab.report.text import (
    Sentence,
    quantity_text,
    text_width,
    whole_sentence,
    wrapped_lines,
)
from batchlab.words.catalogue import capitalized, plural, text
from batchlab.words.reasons import reason_text

MOST_LINES, WIDTH = 24, 100
_MOST_NOTES = 3
_COLUMNS = (
    *("named", "batch_size", "learning_rate", "end", "epochs_to_target", "cost", "step_s"),
    *("peak_bytes", "runs", "which"),
)
# The columns that a narrow screen does without, in this order; the page has them all.
_LEFT_OUT_FIRST = ("peak_bytes", "epochs_to_target", "step_s", "runs")


def advice_sections(advice: Advice) -> Iterator[Section]:
    """Yield the sections of a notebook cell, the answer first."""
    answer, *said = advice_sentences(advice, None)
    why = [str(each) for each in said if each.topic == "why"]
    yield Section(title=str(answer), facts=tuple(why), table=marked_table(answer_table(advice)))
    yield Section(drawing=tuple(filter(None, [bars(advice)])))
    yield Section(facts=(*_notes(advice, said), f"{cost_text(advice)}."))


def advice_text(advice: Advice, *, study: Study, report: Path | None) -> str:
    """Return the answer on one screen: what to set, why, a table of what was trained, what is open.

    It has at most 24 lines of 100 columns; a narrower terminal gets more lines. Notes and bars that
    do not fit are on the page only.
    """
    answer, *said = advice_sentences(advice, study)
    head = _wrapped(str(answer))
    head += [line for each in said if each.topic == "why" for line in _wrapped(str(each))]
    last = _wrapped(_last_line(advice, study, report))
    room = MOST_LINES * WIDTH // text_width(WIDTH) - len(head) - len(last) - 2
    table = _table(advice, most=room - 3)
    room -= len(table)
    notes: list[list[str]] = []
    for note in _notes(advice, said):
        lines = _wrapped(note)
        if sum(map(len, notes)) + len(lines) + 1 <= room:
            notes.append(lines)
    drawn = bars(advice)
    bar_lines = [drawn] if drawn and sum(map(len, notes)) + 3 <= room else []
    parts = (head, table, bar_lines, [*itertools.chain(*notes)], last)
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def advice_headline(advice: Advice, *, study: Study) -> str:
    """Return only the answer, to be repeated at the end of a long text."""
    return "\n".join(_wrapped(str(advice_sentences(advice, study)[0]))) + "\n"


def explain_text(advice: Advice, *, study: Study) -> str:
    """Return what was run and why, one line per step, and the lines to paste into a script."""
    times = [quantity_text("train_s", step.spent_s) for step in advice.steps]
    width = max(map(len, times), default=0)
    lines = [
        f"{time:>{width}}  {reason_text(step.did)}: {reason_text(step.why)}"
        for time, step in zip(times, advice.steps, strict=True)
    ] or [text("No step was recorded.")]
    paste = [] if advice.recommendation is None else lines_to_paste(advice.recommendation, study)
    if paste:
        lines += ["", text("To paste:"), *(f"  {line}" for line in paste)]
    return "\n".join(lines) + "\n"


def cost_text(advice: Advice) -> str:
    """Return how many runs and seconds the study took, and its budget."""
    spent = plural(
        "{n} run in {spent_s:train_s} of {budget_s:train_s}",
        "{n} runs in {spent_s:train_s} of {budget_s:train_s}",
        advice.n_trials,
        spent_s=advice.spent_s,
        budget_s=advice.budget_s,
    )
    if advice.trainings is None:  # the budget was given as a time
        return spent
    return text(
        "{spent} ({trainings:.4g} of your trainings)", spent=spent, trainings=advice.trainings
    )


def _notes(advice: Advice, said: Sequence[Sentence]) -> Iterator[str]:
    """Yield the notes below the table, caveats last: at most three, then how many are left."""
    shown = [
        f"{each} {each.command}".rstrip()
        for each in said
        if each.topic not in RESEARCH_TOPICS | {"why", "trained model"}
    ]
    shown += map(whole_sentence, advice.caveats)
    yield from shown[:_MOST_NOTES]
    left = len(shown) - _MOST_NOTES
    if left > 0:
        yield plural("{n} more note is on the page.", "{n} more notes are on the page.", left)


def _last_line(advice: Advice, study: Study, report: Path | None) -> str:
    """Return the cost, and where to read more."""
    page = "" if report is None else text(" Page: {file}.", file=str(report))
    why = text(" Why: {command}", command=report_command(study))
    return f"{cost_text(advice)}.{page}{why}"


def _wrapped(said: str) -> list[str]:
    return wrapped_lines(said, text_width(WIDTH))


# ---- the table


def _table(advice: Advice, *, most: int) -> list[str]:
    """Return the table of what was trained, at most `most` rows, and lines about the others."""
    rows = list(answer_rows(advice))
    tried = [row for row in rows if row.is_tried]
    shown = set(map(id, sorted(tried, key=lambda row: _rank(advice, row))[:most]))
    table = answer_table(advice, [row for row in tried if id(row) in shown])
    known = {column.key for column in table.columns}
    keys = [key for key in _COLUMNS if key in known]
    for key in _LEFT_OUT_FIRST:
        if "\n\n" not in table.only(keys).to_text(width=WIDTH):
            break  # it fits, and is not cut into several tables
        keys = [other for other in keys if other != key]
    lines = table.only(keys).to_text(width=WIDTH).splitlines()
    if left := [row.candidate.batch_size for row in tried if id(row) not in shown]:
        lines += _wrapped(text("Also trained: {sizes}.", sizes=ranges_text(advice, left)))
    if untried := untried_text(advice):
        lines += _wrapped(untried)
    return lines


def _rank(advice: Advice, row: AnswerRow) -> tuple[bool, bool, int]:
    """Return a sort key of rows: the named one and the user's own batch size come first."""
    is_own = row.candidate.batch_size == advice.reference.batch_size
    return row.at != advice.named, not is_own, -row.met[1]


# ---- the bars

_LONGEST, _SHORTEST = 14, 3  # characters of the longest bar


def bars(advice: Advice) -> str:
    """Return one line with a bar per batch size, at its best rate; bars begin at 0.

    The line is empty for the objective quality, for fewer than two figures, and if it has no room.
    """
    words, least = objective_words(advice), dict[int, float]()
    for row in answer_rows(advice):
        if row.cost is not None and not row.cost.is_bound:
            size = row.candidate.batch_size
            least[size] = min(row.cost.value, least.get(size, row.cost.value))
    if advice.target is None or advice.objective == "quality" or len(least) < 2:
        return ""
    title, longest = capitalized(words.figure), max(least.values())
    room = text_width(WIDTH) - len(title) - 1 - sum(len(str(size)) + 3 for size in least)
    wide = min(_LONGEST, int((room - len(least)) / sum(least.values()) * longest))
    if wide < _SHORTEST:
        return ""
    drawn = (f"{size} {'█' * max(1, round(each / longest * wide))}" for size, each in least.items())
    return f"{title}:  {'  '.join(drawn)}"
