"""The tables of an advice: what each batch size gives, what was run, and why."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from batchlab.advice.advice import Advice, Configuration, RateTried
from batchlab.records.study import Study
from batchlab.report.advice_rows import AnswerRow, answer_rows
from batchlab.report.advice_words import objective_words, overfits, reference_text
from batchlab.report.table import NAMED, Cell, Column, Table, table_of
from batchlab.report.text import quantity_text, split_label
from batchlab.words.catalogue import term_text, text
from batchlab.words.reasons import reason_text

# ---- the answer


def answer_table(advice: Advice, rows: Iterable[AnswerRow] | None = None) -> Table:
    """Return the table of what each batch size gives, with all rows if `rows` is None."""
    words, test = objective_words(advice), split_label("test", advice.metric)
    caption = text("What each batch size gives, with 95 % intervals")
    if advice.endings is not None:
        if overfits(advice):
            caption += text("; final: the mean of the best three evaluations in a row")
        else:
            caption += text("; final: read off a line through the last quarter")
    columns = [
        Column("batch_size", label=text("batch"), of=lambda row: row.candidate.batch_size),
        Column("learning_rate", label=text("rate"), of=lambda row: row.at and row.at.learning_rate),
        Column("end", advice.metric, end_label(advice), of=lambda row: row.end),
        Column("end_test", advice.metric, test, of=lambda row: row.end_test, is_minor=True),
    ]
    if advice.target is not None and advice.objective != "quality":
        level = quantity_text(advice.target.metric, advice.target.value)
        figure = {"time": "time to {level}", "samples": "examples to {level}"}[advice.objective]
        epochs = text("epochs to {level}", level=level)
        columns += [
            Column("epochs_to_target", label=epochs, of=partial(_epochs, advice), is_minor=True),
            Column("cost", words.quantity, text(figure, level=level), of=_cost),
        ]
    columns += [
        Column("step_s", label=text("step"), of=_step_s, is_minor=True),
        Column("peak_bytes", label=text("memory"), of=_peak_bytes, is_minor=True),
        Column("runs", "n", text("runs"), of=lambda row: row.met[1] or None, is_minor=True),
        Column("which", label=" ", of=partial(_name, advice)),
        Column("named", label=" ", of=lambda row: NAMED if _is_named(advice, row) else ""),
    ]
    shown = answer_rows(advice) if rows is None else rows
    return table_of(caption, shown, *columns).without_empty_columns()


def _step_s(row: AnswerRow) -> float | None:
    return row.candidate.step_s.estimate


def _peak_bytes(row: AnswerRow) -> int | None:
    return row.candidate.peak_bytes


def _name(advice: Advice, row: AnswerRow) -> str:
    name = row_name(advice, row.at)
    return f"← {name}" if name else ""


def untried_text(advice: Advice) -> str:
    """Return a sentence on the batch sizes that were only timed, or "" if there are none."""
    untried = [row.candidate.batch_size for row in answer_rows(advice) if not row.is_tried]
    return text("Timed only: {sizes}.", sizes=ranges_text(advice, untried)) if untried else ""


def ranges_text(advice: Advice, sizes: Iterable[int]) -> str:
    """Return batch sizes as text, with three or more neighbors joined as "4096 to 32768"."""
    wanted, said = set(sizes), list[str]()
    in_question = [candidate.batch_size for candidate in advice.candidates]
    for is_wanted, group in itertools.groupby(in_question, wanted.__contains__):
        together = list(group)
        if is_wanted and len(together) > 2:
            said.append(text("{first} to {last}", first=together[0], last=together[-1]))
        elif is_wanted:
            said += map(str, together)
    return ", ".join(said)


def _is_named(advice: Advice, row: AnswerRow) -> bool:
    return row.at is not None and row.at == advice.named


def end_label(advice: Advice) -> str:
    """Return the label of final values, such as "final accuracy"."""
    if advice.objective == "quality" or overfits(advice):
        return text("best {metric}", metric=advice.metric)
    return text("final {metric}", metric=advice.metric)


def row_name(advice: Advice, at: Configuration | None) -> str:
    """Return the name of a row in addition to its batch size, or "" if it has none."""
    if at is None or at.batch_size != advice.reference.batch_size:
        return ""
    return reference_text(advice, "short") if at.is_same(advice.reference) else text("best rate")


def _cost(row: AnswerRow) -> Cell:
    """Return the figure with its interval or bound, or why there is none."""
    if row.cost is None:
        met, n = row.met
        if met:
            return text("met by {met} of {n}", met=met, n=n)
        return text("not met") if n else text("not trained")
    found = row.cost.estimate
    if row.cost.is_bound:
        return replace(found, estimate=None, low=row.cost.value, high=None)
    return found


def _epochs(advice: Advice, row: AnswerRow) -> float | None:
    """Return the passes over the training set to the target."""
    if row.cost is None or row.cost.is_bound:
        return None
    samples, step_s = row.cost.value, row.candidate.step_s.estimate
    if advice.objective == "time":
        if not step_s:
            return None
        samples *= row.candidate.batch_size / step_s
    return samples / advice.n_train


# ---- what was run

_PURPOSES: dict[str, str] = {
    "pilot": "set the target",
    "search": "compare with what is fastest",
    "whole": "train as long as the reference",
}
# Batch size, learning rate and seed.
_Key = tuple[int, float, int]


def cost_table(advice: Advice, study: Study) -> Table:
    """Return the table of what was run for which purpose, and what it cost.

    A run that was requested twice (a continued trial) counts under its first purpose.
    """
    seconds = {
        (t.batch_size, t.learning_rate, t.seed): r.train_s + r.eval_s
        for r in study.records
        for t in (r.trial,)
    }
    first: dict[_Key, str] = {}
    runs: dict[str, dict[_Key, RateTried]] = {}
    for tried in advice.tried:
        key = (tried.batch_size, tried.learning_rate, tried.seed)
        if first.setdefault(key, tried.purpose) == tried.purpose:
            runs.setdefault(tried.purpose, {})[key] = tried

    def total_s(purpose: str) -> float | None:
        known = [seconds[key] for key in runs[purpose] if key in seconds]
        return sum(known) if len(known) == len(runs[purpose]) else None

    def of_runs(key: str, quantity: str, label: str, of: Callable[[RateTried], int]) -> Column:
        return Column(key, quantity, label, of=lambda p: sum(map(of, runs[p].values())))

    def n_sizes(purpose: str) -> int:
        return len({tried.batch_size for tried in runs[purpose].values()})

    return table_of(
        text("What was run. Runs side by side each count their own seconds."),
        runs,
        Column("purpose", label=text("to"), of=_purpose_text),
        of_runs("runs", "n", text("training runs"), lambda tried: 1),
        Column("batch_sizes", "n", text("batch sizes"), of=n_sizes),
        of_runs("steps", "steps_to_target", text("steps"), lambda tried: tried.steps),
        of_runs("samples", "samples_to_target", text("samples"), lambda t: t.steps * t.batch_size),
        Column("train_s", label=text("training and evaluation"), of=total_s),
    ).without_empty_columns()


def tried_table(advice: Advice) -> Table:
    """Return the table of every training run, in the order of the requests."""
    return table_of(
        text("Every training run, in order"),
        advice.tried,
        Column("batch_size"),
        Column("learning_rate"),
        Column("seed", label=text("seed")),
        Column("purpose", label=text("to"), of=lambda tried: _purpose_text(tried.purpose)),
        Column("status", label=text("status"), of=lambda t: term_text(t.status).replace("_", " ")),
        Column("steps", label=text("steps")),
        Column("steps_to_target"),
    )


def _purpose_text(purpose: str) -> str:
    return text(_PURPOSES.get(purpose, purpose))


def steps_table(advice: Advice) -> Table:
    """Return the table of what was done and why, in order."""
    return table_of(
        text("What was done and why, with the time spent until then"),
        advice.steps,
        Column("spent_s", "train_s", text("after")),
        Column("did", label=text("did"), of=lambda step: reason_text(step.did)),
        Column("why", label=text("why"), of=lambda step: reason_text(step.why)),
    )
