"""The rows of an advice: what each batch size gives, as one table that every view shows."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

from batchlab.advice.advice import (
    Advice,
    Believed,
    Candidate,
    Configuration,
    RateTried,
    is_same_rate,
    variant_of,
)
from batchlab.records.estimate import Estimate, Reason
from batchlab.report.table import NAMED, Cell, Column, Table, table_of
from batchlab.report.text import clause, quantity_text, split_label
from batchlab.words.catalogue import text
from batchlab.words.reasons import reason_text

_NO_END = Estimate.cannot_tell(Reason.of("no_whole_training"))
_NOT_TRAINED = Estimate.cannot_tell(Reason.of("not_trained"))


def runs_of(advice: Advice, at: Configuration | Candidate) -> list[RateTried]:
    """Return the runs of a configuration."""
    return [run for run in advice.tried if _is_at(run, at)]


def believed_at(advice: Advice, at: Configuration | Candidate) -> Believed | None:
    """Return what all runs together say of a configuration, or None if it is not shown."""
    return next((known for known in advice.believed if _is_at(known, at)), None)


def _is_at(one: RateTried | Believed | Configuration, at: Configuration | Candidate) -> bool:
    rate = at.learning_rate
    is_same = variant_of(one) == variant_of(at)
    return is_same and rate is not None and is_same_rate(one.learning_rate, rate)


def believed_by_size(advice: Advice) -> dict[int, Believed]:
    """Return what all runs together say of each batch size, ascending.

    It is for the learning rate of the batch size, or without one for the rate expected to be best.
    """
    found = {}
    for candidate in advice.candidates:
        of_size = [b for b in advice.believed if b.batch_size == candidate.batch_size]
        at_rate = None
        if candidate.learning_rate is not None:
            at_rate = believed_at(advice, candidate)
        if of_size:
            found[candidate.batch_size] = at_rate or of_size[0]
    return found


# ---- the rows


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerRow:
    """A batch size at one learning rate: its final value, and its cost to the target.

    Attributes:
        at: the configuration; None if the batch size has no rate because it was not trained.
        candidate: its batch size.
        end: the validation metric at the end of whole trainings.
        end_test: their mean on test data, which decides nothing; None if not known.
        cost: the seconds or examples to the target; only a lower bound if no run has met it.
        runs: its runs.
    """

    at: Configuration | None
    candidate: Candidate
    end: Estimate
    end_test: float | None
    cost: Estimate
    runs: tuple[RateTried, ...]

    @property
    def is_tried(self) -> bool:
        """Whether it was trained, or is the user's own or the named one."""
        return self.at is not None or bool(self.runs)


def answer_rows(advice: Advice) -> Iterator[AnswerRow]:
    """Yield one row per batch size at its rate, and one each for the user's own and the named."""
    for candidate in advice.candidates:
        places = _places(advice, candidate)
        for at in places:
            runs, known = tuple(runs_of(advice, at)), believed_at(advice, at)
            tests = [r.end_test for r in runs if r.end is not None and r.end_test is not None]
            yield AnswerRow(
                at=at,
                candidate=candidate,
                end=_NO_END if known is None or known.end.n == 0 else known.end,
                end_test=statistics.fmean(tests) if tests else None,
                cost=_cost(advice, candidate, at, runs),
                runs=runs,
            )
        if not places:
            size = candidate.batch_size
            yield AnswerRow(
                at=None,
                candidate=candidate,
                end=_NO_END,
                end_test=None,
                cost=_NOT_TRAINED,
                runs=tuple(run for run in advice.tried if run.batch_size == size),
            )


def _places(advice: Advice, candidate: Candidate) -> list[Configuration]:
    """Return the configurations of a batch size that have a row."""
    places = [place for place in (advice.reference, advice.named) if place is not None]
    if candidate.learning_rate is not None:
        places.append(
            Configuration(
                batch_size=candidate.batch_size,
                micro_batch_size=candidate.micro_batch_size,
                learning_rate=candidate.learning_rate,
                epochs=candidate.epochs,
                weight_decay_factor=candidate.weight_decay_factor,
            )
        )
    different: list[Configuration] = []
    for place in places:
        is_new = not any(_is_at(one, place) for one in different)
        if place.batch_size == candidate.batch_size and is_new:
            different.append(place)
    return different


class RunCost(NamedTuple):
    """The seconds or examples to the target of one run, or those it took without meeting it."""

    value: float
    is_bound: bool


def run_costs(advice: Advice, row: AnswerRow) -> list[RunCost]:
    """Return the cost of each run of a row; none without a target or a step time."""
    return _run_costs(advice, row.candidate, row.runs)


def _run_costs(advice: Advice, candidate: Candidate, runs: Iterable[RateTried]) -> list[RunCost]:
    per_step = {"time": candidate.step_s.estimate, "samples": float(candidate.batch_size)}
    cost_per_step = per_step.get(advice.objective)
    if cost_per_step is None or advice.target is None:
        return []
    return [
        RunCost(cost_per_step * (run.steps_to_target or run.steps), run.steps_to_target is None)
        for run in runs
    ]


def _cost(
    advice: Advice, candidate: Candidate, at: Configuration, runs: Sequence[RateTried]
) -> Estimate:
    """Return the cost by all runs together, or else what the own runs show."""
    if _is_at(at, candidate):
        return candidate.cost
    own = _run_costs(advice, candidate, runs)
    known = believed_at(advice, at)
    has_met = any(not run.is_bound for run in own)
    if known is not None and has_met and known.cost.estimate is not None:
        return known.cost
    if not own:
        return _NOT_TRAINED
    if all(not run.is_bound for run in own):
        return Estimate.of(statistics.fmean(run.value for run in own), n=len(own))
    steps = max(run.steps for run in runs if run.steps_to_target is None)
    bounds = [run.value for run in own if run.is_bound]
    return Estimate.cannot_tell(
        Reason.of("missed_the_level", steps=steps), n=len(bounds), low=max(bounds)
    )


# ---- their labels


class CostWords(NamedTuple):
    """The words for the cost of an objective."""

    quantity: str  # its name in `batchlab.records.quantities`
    name: str
    to_level: str
    best: str


_COST = {
    "time": CostWords("time_to_target_s", "time to target", "time to {level}", "the best time"),
    "samples": CostWords(
        "samples_to_target", "examples to target", "examples to {level}", "the fewest examples"
    ),
}


def cost_words(advice: Advice) -> CostWords | None:
    """Return the words for the cost of an advice; None for quality, and without a target."""
    return None if advice.target is None else _COST.get(advice.objective)


def overfits(advice: Advice) -> bool:
    """Return whether a final value is the mean of the best evaluations in a row, not the last."""
    return any(caveat.code == "reference_overfits" for caveat in advice.caveats)


def end_label(advice: Advice) -> str:
    """Return the label of final values, such as "final accuracy"."""
    if advice.objective == "quality" or overfits(advice):
        return text("best {metric}", metric=advice.metric)
    return text("final {metric}", metric=advice.metric)


def own_label(advice: Advice) -> str:
    """Return the label of the user's own configuration, "usual" if nobody chose it."""
    return text("usual") if advice.is_usual else text("yours")


def named_label(advice: Advice) -> str:
    """Return the label of the named configuration."""
    if advice.named is None or advice.named.is_same(advice.reference):
        return own_label(advice)
    return text("recommended")


# ---- the tables


def answer_table(advice: Advice, rows: Iterable[AnswerRow] | None = None) -> Table:
    """Return the table of what each batch size gives, with all rows if `rows` is None."""
    words = cost_words(advice)
    caption = text("What each batch size gives, with 95 % intervals")
    if advice.endings is not None:
        if overfits(advice):
            caption += text("; final: the mean of the best three evaluations in a row")
        else:
            caption += text("; final: read off a line through the last quarter")

    def name(row: AnswerRow) -> str:
        if row.at is None or row.at.batch_size != advice.reference.batch_size:
            return ""
        is_own = row.at.is_same(advice.reference)
        if row.at.epochs is not None or row.at.weight_decay_factor != 1:
            return ""
        return f"← {own_label(advice) if is_own else text('best rate')}"

    def epochs(row: AnswerRow) -> float | None:
        return _epochs(advice, row)

    test = split_label("test", advice.metric)
    columns = [
        Column("batch_size", label=text("batch"), of=attrgetter("candidate.batch_size")),
        Column("learning_rate", label=text("rate"), of=lambda row: row.at and row.at.learning_rate),
        *_decay_column(advice, lambda row: row.at and row.at.weight_decay_factor),
        Column("end", advice.metric, end_label(advice)),
        Column("end_test", advice.metric, test, is_minor=True),
    ]
    if words is not None and advice.target is not None:
        level = quantity_text(advice.target.metric, advice.target.value)
        label = text("epochs to {level}", level=level)
        columns += [
            Column("epochs_to_target", label=label, of=epochs, is_minor=True),
            Column("cost", words.quantity, text(words.to_level, level=level), of=_cost_cell),
        ]
    columns += [
        Column(
            "step_s", label=text("step"), of=lambda r: r.candidate.step_s.estimate, is_minor=True
        ),
        Column(
            "peak_bytes", label=text("memory"), of=lambda r: r.candidate.peak_bytes, is_minor=True
        ),
        Column("runs", "n", text("runs"), of=lambda row: len(row.runs) or None, is_minor=True),
        Column("which", label=" ", of=name),
        Column("named", label=" ", of=lambda row: NAMED if _is_named(advice, row) else ""),
    ]
    shown = answer_rows(advice) if rows is None else rows
    return table_of(caption, shown, *columns).without_empty_columns()


def _decay_column(advice: Advice, of: Callable[[Any], Cell] | None = None) -> list[Column]:
    """Return the column of the factor of the weight decay, if it was tuned."""
    if all(run.weight_decay_factor == 1 for run in advice.tried):
        return []
    label = text("× weight decay")
    return [Column("weight_decay_factor", "ratio", label, of=of)]


def _is_named(advice: Advice, row: AnswerRow) -> bool:
    return row.at is not None and row.at == advice.named


def _cost_cell(row: AnswerRow) -> Cell:
    """Return the cost, or if nothing is known of it how many runs met the target."""
    if (row.cost.estimate, row.cost.low) != (None, None):
        return row.cost
    n_met = sum(run.steps_to_target is not None for run in row.runs)
    if n_met:
        return text("met by {met} of {n}", met=n_met, n=len(row.runs))
    return text("not met") if row.runs else text("not trained")


def _epochs(advice: Advice, row: AnswerRow) -> float | None:
    """Return the passes over the training set to the target."""
    candidate, samples = row.candidate, row.cost.estimate
    if samples is not None and advice.objective == "time":
        of_all, time_s = candidate.samples_to_target.estimate, candidate.time_to_target_s.estimate
        if of_all is None or not time_s:
            of_all, time_s = candidate.batch_size, candidate.step_s.estimate
        samples = samples * of_all / time_s if time_s else None
    return None if samples is None else samples / advice.n_train


_NO_TIME = "profile_ended_before"


def untried_text(advice: Advice) -> str:
    """Return which batch sizes were only timed, and which did not run; "" if there are none."""
    untried = [row.candidate for row in answer_rows(advice) if not row.is_tried]
    ran = [each.batch_size for each in untried if each.fits]
    others = [(each.batch_size, each.note) for each in untried if not each.fits]
    late = [size for size, note in others if note and note.code == _NO_TIME]
    failed = [(size, note) for size, note in others if note and note.code != _NO_TIME]
    said = text("Timed only: {sizes}.", sizes=ranges_text(advice, ran)) if ran else ""
    if late:
        said += text(" No time for: {sizes}.", sizes=ranges_text(advice, late))
    if failed:
        # The answer has said its own reason.
        note = failed[0][1]
        why = "" if note == advice.reason else f" ({clause(note)})"
        sizes = ranges_text(advice, [size for size, _ in failed])
        said += text(" Did not run: {sizes}{why}.", sizes=sizes, why=why)
    return said.strip()


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


_PURPOSES = {
    "pilot": "set the target",
    "search": "compare",
    "whole": "see its end",
}


def tried_table(advice: Advice) -> Table:
    """Return the table of every training run, in the order of the requests."""
    has_lengths = any(run.epochs is not None for run in advice.tried)
    lengths = [Column("epochs", label=text("schedule over other epochs"))] if has_lengths else []
    return table_of(
        text("Every training run, in order"),
        advice.tried,
        Column("batch_size"),
        Column("learning_rate"),
        *lengths,
        *_decay_column(advice),
        Column("seed", label=text("seed")),
        Column("purpose", label=text("purpose"), of=lambda run: text(_PURPOSES[run.purpose])),
        Column("status", label=text("status"), has_terms=True),
        Column("steps", "step", text("steps")),
        Column("steps_to_target"),
    )


def steps_table(advice: Advice) -> Table:
    """Return the table of what was done and why, in order."""
    return table_of(
        text("What was done and why, with the time spent until then"),
        advice.steps,
        Column("spent_s", "train_s", text("after")),
        Column("did", label=text("did"), of=lambda step: reason_text(step.did)),
        Column("why", label=text("why"), of=lambda step: reason_text(step.why)),
    )
