"""The table rows of an advice: final value and cost of each batch size."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter

from batchlab.advice.advice import (
    Advice,
    Believed,
    Candidate,
    Configuration,
    RateTried,
    is_same_rate,
    variant_of,
)
from batchlab.laws.mean import known
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.quantities import Better
from batchlab.report.table import NAMED, Column, Table, TableCell, table_of
from batchlab.report.text import clause, label_text, quantity_text, split_label
from batchlab.words.reasons import reason_text

_NO_END = Estimate.cannot_tell(Reason.of("no_whole_training"))
_NOT_TRAINED = Estimate.cannot_tell(Reason.of("not_trained"))


def runs_of(advice: Advice, at: Configuration | Candidate) -> list[RateTried]:
    """Return the runs that trained a configuration, over all seeds."""
    return list(filter(partial(_is_at, at=at), advice.tried))


def believed_at(advice: Advice, at: Configuration | Candidate) -> Believed | None:
    """Return what all runs together predict for a configuration, or None without a prediction."""
    return next(filter(partial(_is_at, at=at), advice.believed), None)


def _is_at(one: RateTried | Believed | Configuration, at: Configuration | Candidate) -> bool:
    rate = at.learning_rate
    is_same = variant_of(one) == variant_of(at)
    return is_same and rate is not None and is_same_rate(one.learning_rate, rate)


def believed_by_size(advice: Advice) -> dict[int, Believed]:
    """Return what all runs together predict for each batch size, by ascending batch size.

    Each prediction is for the learning rate that the advice chose for the batch size. If there is
    no such prediction, it is for the rate that is expected to be best.
    """
    by_size = {}
    for candidate in advice.candidates:
        of_size = [one for one in advice.believed if one.batch_size == candidate.batch_size]
        if of_size:
            by_size[candidate.batch_size] = believed_at(advice, candidate) or of_size[0]
    return by_size


SIGN: dict[Better, int] = {"higher": 1, "lower": -1}
"""The factor by which to multiply a metric's values so that higher is better."""

# ---- the rows


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerRow:
    """A batch size at one learning rate: its final value, and its cost to the target.

    Attributes:
        at: the configuration; None if the batch size was not trained, or failed at every rate.
        candidate: the batch size, with its step time and memory.
        runs: the runs of the configuration, or all runs of the batch size if `at` is None.
        end: the final validation metric; known only if a run of the configuration was complete.
        end_test: the mean final metric on test data, not used for decisions; None if not known.
        cost: the seconds or examples to the target; only a lower bound if no run met the target.
    """

    at: Configuration | None
    candidate: Candidate
    runs: tuple[RateTried, ...]
    end: Estimate = _NO_END
    end_test: float | None = None
    cost: Estimate = _NOT_TRAINED

    @property
    def is_tried(self) -> bool:
        """Whether the batch size was trained, or is in the user's or the answer's configuration."""
        return self.at is not None or bool(self.runs)


def answer_rows(advice: Advice) -> Iterator[AnswerRow]:
    """Yield rows for each batch size at its best, the user's and the recommended learning rate."""
    for candidate in advice.candidates:
        places = _places(advice, candidate)
        for at in places:
            yield _row_at(advice, candidate, at)
        if not places:
            runs = tuple(run for run in advice.tried if run.batch_size == candidate.batch_size)
            yield AnswerRow(at=None, candidate=candidate, runs=runs)


def _row_at(advice: Advice, candidate: Candidate, at: Configuration) -> AnswerRow:
    runs, believed = tuple(runs_of(advice, at)), believed_at(advice, at)
    cost, end, end_test = candidate.cost, _NO_END, None
    if not _is_at(at, candidate):
        cost = _cost(advice, candidate, believed, runs)
    if believed is not None and believed.end.n:
        end = believed.end
    tests = known(run.end_test for run in runs if run.end is not None)
    if tests:
        end_test = statistics.fmean(tests)
    return AnswerRow(at=at, candidate=candidate, runs=runs, end=end, end_test=end_test, cost=cost)


def _places(advice: Advice, candidate: Candidate) -> list[Configuration]:
    places = [advice.reference, advice.named]
    if candidate.learning_rate is not None:
        places.append(
            Configuration(
                batch_size=candidate.batch_size,
                micro_batch_size=candidate.micro_batch_size,
                learning_rate=candidate.learning_rate,
                epochs=candidate.epochs,
            )
        )
    different: list[Configuration] = []
    for place in places:
        if place is None or place.batch_size != candidate.batch_size:
            continue
        if not any(_is_at(other, place) for other in different):
            different.append(place)
    return different


def _cost(
    advice: Advice, candidate: Candidate, believed: Believed | None, runs: Sequence[RateTried]
) -> Estimate:
    """Estimate the cost of reaching the target; if no run reached it, give a lower bound."""
    if any(run.steps_to_target is not None for run in runs):
        return _NOT_TRAINED if believed is None else believed.cost
    per_step = {"time": candidate.step_s.estimate, "samples": candidate.batch_size}
    step_cost = per_step.get(advice.objective)
    if not runs or step_cost is None or advice.target is None:
        return _NOT_TRAINED
    steps = max(map(attrgetter("steps"), runs))
    reason = Reason.of("missed_the_level", steps=steps)
    return Estimate.cannot_tell(reason, n=len(runs), low=steps * step_cost)


# ---- the labels of rows


# The cost that an advice minimizes, by its objective.
_COSTS = {"time": "time_to_target_s", "samples": "samples_to_target"}
# The name of the lowest cost in a report, by the objective of the advice.
BEST_COST = {"time": "the best time", "samples": "the fewest examples"}


def cost_quantity(advice: Advice) -> str | None:
    """Return the name of the cost that an advice minimizes; None if it minimizes no cost."""
    return None if advice.target is None else _COSTS.get(advice.objective)


def overfits(advice: Advice) -> bool:
    """Return whether the user's configuration overfits; reports then show best evaluations."""
    return any(caveat.code == "reference_overfits" for caveat in advice.caveats)


def end_label(advice: Advice) -> str:
    """Return "final accuracy", or "best accuracy" if the best evaluation of a run is reported."""
    if advice.objective == "quality" or overfits(advice):
        return f"best {advice.metric}"
    return f"final {advice.metric}"


def own_label(advice: Advice) -> str:
    """Return the label of the reference configuration: "yours", or "usual" for a default."""
    return "usual" if advice.is_usual else "yours"


def named_label(advice: Advice) -> str:
    """Return the label of the answer: "recommended", or `own_label` if the answer is no change."""
    if advice.named is None or advice.named.is_same(advice.reference):
        return own_label(advice)
    return "recommended"


# ---- the tables


def answer_table(advice: Advice, rows: Iterable[AnswerRow] | None = None) -> Table:
    """Return the table of final value and cost by batch size, with all rows if `rows` is None."""
    quantity = cost_quantity(advice)
    caption = "What each batch size gives, with 95 % intervals"
    if advice.end_quality is not None and overfits(advice):
        caption += "; final: the mean of the best three evaluations in a row"
    elif advice.end_quality is not None:
        caption += "; final: read off a line through the last quarter"

    def which(row: AnswerRow) -> str:
        at, reference = row.at, advice.reference
        if at is None or at.batch_size != reference.batch_size or at.epochs is not None:
            return ""
        return f"← {own_label(advice)}" if at.is_same(reference) else "← best rate"

    def named(row: AnswerRow) -> str:
        return NAMED if row.at is not None and row.at == advice.named else ""

    test = split_label("test", advice.metric)
    columns = [
        Column("named", label=" ", of=named),
        Column("batch_size", label="batch", of=attrgetter("candidate.batch_size")),
        Column("learning_rate", label="rate", of=lambda row: row.at and row.at.learning_rate),
        Column("end", advice.metric, end_label(advice)),
        Column("end_test", advice.metric, test, is_minor=True),
    ]
    if quantity is not None and advice.target is not None:
        level = quantity_text(advice.target.metric, advice.target.value)
        cost = label_text(quantity).replace("target", level)
        epochs = partial(_epochs, advice)
        columns += [
            Column("epochs_to_target", label=f"epochs to {level}", of=epochs, is_minor=True),
            Column("cost", quantity, cost, of=_cost_cell),
        ]
    columns += [
        Column("step_s", label="step", of=lambda r: r.candidate.step_s.estimate, is_minor=True),
        Column("peak_bytes", label="memory", of=lambda r: r.candidate.peak_bytes, is_minor=True),
        Column("runs", "n", "runs", of=lambda row: len(row.runs) or None, is_minor=True),
        Column("which", label=" ", of=which),
    ]
    if rows is None:
        rows = answer_rows(advice)
    return table_of(caption, rows, *columns).without_empty_columns()


def _cost_cell(row: AnswerRow) -> TableCell:
    if (row.cost.estimate, row.cost.low) != (None, None):
        return row.cost
    n_met = sum(run.steps_to_target is not None for run in row.runs)
    if n_met:
        return f"met by {n_met} of {len(row.runs)}"
    return "not met" if row.runs else "not trained"


def _epochs(advice: Advice, row: AnswerRow) -> float | None:
    candidate, cost = row.candidate, row.cost.estimate
    if cost is None:
        return None
    if advice.objective != "time":
        return cost / advice.n_train
    samples, time_s = candidate.samples_to_target.estimate, candidate.time_to_target_s.estimate
    if samples is None or not time_s:
        samples, time_s = candidate.batch_size, candidate.step_s.estimate
    if not time_s:
        return None
    return cost * samples / time_s / advice.n_train


def untried_text(advice: Advice) -> str:
    """Return a text on batch sizes that were only timed or did not run; "" if there are none."""
    timed: list[str] = []
    failed: dict[str, list[Candidate]] = {}  # batch sizes that failed, by the code of the reason
    for row in answer_rows(advice):
        candidate = row.candidate
        if candidate.fits and not row.is_tried:
            timed.append(str(candidate.batch_size))
        elif candidate.note and not row.is_tried:
            failed.setdefault(candidate.note.code, []).append(candidate)
    texts = []
    if timed:
        texts.append(f"Timed only: {', '.join(timed)}.")
    for candidates in failed.values():
        sizes = ", ".join(map(str, map(attrgetter("batch_size"), candidates)))
        reason = candidates[0].note
        if reason != advice.reason:  # do not repeat a reason that the answer gives
            sizes += f" ({clause(reason)})"
        texts.append(f"Did not run: {sizes}.")
    return " ".join(texts)


_PURPOSES = {"pilot": "set the target", "search": "compare", "whole": "see its end"}


def tried_table(advice: Advice) -> Table:
    """Return the table of every training run, in the order in which the advice requested them."""
    return table_of(
        "Every training run, in order",
        advice.tried,
        Column("batch_size"),
        Column("learning_rate"),
        Column("epochs", label="schedule over other epochs"),
        Column("seed"),
        Column("purpose", of=lambda run: _PURPOSES[run.purpose]),
        Column("status"),
        Column("steps", "step", "steps"),
        Column("steps_to_target"),
    )


def steps_table(advice: Advice) -> Table:
    """Return the table of the advice's steps in order: the time, what was done, and why."""
    return table_of(
        "What was done and why, with the time spent until then",
        advice.steps,
        Column("spent_s", "train_s", "after"),
        Column("did", of=lambda step: reason_text(step.did)),
        Column("why", of=lambda step: reason_text(step.why)),
    )
