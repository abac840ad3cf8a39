"""Cells in words: their names, what was measured of them, and how their trials ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from batchlab.belief.cells import Cell, chosen_cells, held_out_split
from batchlab.belief.equal_budget import EqualBudget
from batchlab.belief.evidence import Measured
from batchlab.records.quantities import FRACTION_METRICS
from batchlab.records.study import Study
from batchlab.records.trial import TrialRecord
from batchlab.report.figure import Look, Row, looks
from batchlab.report.table import Column, Table, Value
from batchlab.report.text import batch_text, quantity_text, split_label
from batchlab.words.catalogue import listing, number_text, plural, term_text, text

# ---- cells


def cell_label(study: Study, cell: Cell) -> str:
    """Return the name of a cell in a table: "64", "4096 (full)", "grow (32 to 512)"."""
    trial = cell.records[0].trial
    label = text("{n} (full)", n=trial.batch_size)
    if trial.batch_size < study.workload.n_train:
        label = number_text(trial.batch_size, "")
    if isinstance(cell.kind, int):
        return label
    if cell.kind == "grow":
        label = text("{first} to {last}", first=label, last=trial.largest_batch_size)
    return text("{plan} ({sizes})", plan=term_text(cell.kind), sizes=label)


def cell_fields(cell: Cell) -> Row:
    """Return the fields of a cell's rows in a figure: its plan, and its batch size if constant."""
    if isinstance(cell.kind, int):
        return {"batch_size": cell.kind}
    plan: Row = {"plan": cell.kind}
    return plan if cell.kind == "grow" else {**plan, "batch_size": cell.batch_size}


def figure_looks(study: Study) -> tuple[Look, ...]:
    """Return how the batch sizes and plans of a study are drawn."""
    plans = [cell.kind for cell in chosen_cells(study) if isinstance(cell.kind, str)]
    return looks(study.batch_sizes, n_train=study.workload.n_train, plans=plans)


# ---- what was measured of them


def budget_text(budget: EqualBudget | None) -> str:
    """Return a budget in words: "equal steps (1,280 each)", "equal time (2.1 s each)"."""
    if budget is None:
        return text("the end")
    form = {"time": "train_s", "steps": ",.6g", "epochs": ".3g"}[budget.name]
    amount = number_text(budget.amount, form)
    return text("equal {what} ({amount} each)", what=text(budget.name), amount=amount)


def measured_text(measured: Measured) -> str:
    """Return what was measured: "validation accuracy", "training minus test accuracy"."""
    what = split_label(measured.split, measured.study.workload.metrics[0].name)
    return text("training minus {held_out}", held_out=what) if measured.is_gap else what


def measured_quantity(measured: Measured) -> str:
    """Return the quantity that writes measured values."""
    if measured.is_gap:
        return gap_quantity(measured.study)
    return measured.study.workload.metrics[0].name


def level_text(measured: Measured, cell: Cell) -> str:
    """Return the mean of a cell in words: "97.00 % at batch size 64"."""
    value = quantity_text(measured_quantity(measured), measured.level(cell))
    message = "{value} at {size}" if isinstance(cell.kind, int) else "{value} with {size}"
    return text(message, value=value, size=batch_text(measured.study, cell.kind))


def gap_quantity(study: Study) -> str:
    """Return the quantity that writes differences of the metric that counts: shares in points."""
    metric, split = study.workload.metrics[0].name, held_out_split(study) or "train"
    last = [record.last(split, metric) for record in study.records if record.ended_well]
    # Some scripts report accuracies in percent, whose differences are points already.
    is_share = all(abs(value) <= 1 for value in last if value is not None)
    return "gap_points" if metric in FRACTION_METRICS and is_share else "generalization_gap"


# ---- how trials ended


def status_text(record: TrialRecord) -> str:
    """Return the status of a trial, or "unfinished" if it has none yet."""
    return "unfinished" if record.status is None else str(record.status)


def trial_words(record: TrialRecord) -> str:
    """Describe a trial in a few words: "seed 1: diverged at epoch 3"."""
    return text(
        "seed {seed}: {status} at epoch {epochs:.3g}",
        seed=record.trial.seed,
        status=term_text(status_text(record)),
        epochs=record.epochs,
    )


def trial_counts(study: Study) -> str:
    """Say in a sentence how many trials there are and how they ended."""
    if not study.records:
        return text("No trials have been run.")
    counts = Counter(map(status_text, study.records))
    ended = ", ".join(
        text("{n} {status}", n=count, status=term_text(status))
        for status, count in counts.most_common()
    )
    said = plural("{n} trial: {ended}.", "{n} trials: {ended}.", len(study.records), ended=ended)
    places = Counter(record.place for record in study.records if record.place is not None)
    if len(places) < 2:
        return said
    where = listing([text("{n} on {place}", n=n, place=name) for name, n in places.most_common()])
    return text("{said} They ran in different places: {where}.", said=said, where=where)


# ---- every observation


def observations_table(study: Study) -> Table:
    """Return every observation of every trial in long format, one row per number.

    A number without a split has an empty one; a trial without evaluations has an empty metric.
    """
    identity = ("trial_id", "batch_size", "learning_rate", "seed")
    place = ("epoch", "step", "samples", "train_s", "eval_s", "equal_time_s")
    columns = tuple(map(Column, (*identity, *place, "split", "metric", "value")))
    rows = tuple(row for record in study.records for row in _observations(study, record))
    return Table(caption=text("Every observation of every trial"), columns=columns, rows=rows)


def _observations(study: Study, record: TrialRecord) -> Iterator[tuple[Value, ...]]:
    trial = record.trial
    rate = trial.learning_rate if study.workload.takes_rate else None
    identity = (trial.trial_id, trial.batch_size, rate, trial.seed)
    if not record.evaluations:
        yield (*identity, *([None] * 9))
    for evaluation in record.evaluations:
        place = (
            round(record.epoch_of(evaluation), 6),
            evaluation.step,
            evaluation.samples,
            evaluation.train_s,
            evaluation.eval_s,
            study.train_s(trial, evaluation.step),
        )
        for score in evaluation.scores:
            yield (*identity, *place, score.split, score.metric, score.value)
        if evaluation.step:
            yield (*identity, *place, None, "batch_loss", evaluation.batch_loss)
        for name, value in evaluation.measured:
            yield (*identity, *place, None, name, value)
