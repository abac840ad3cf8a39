"""The tables of a sweep: by batch size, by trial, by observation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from batchlab.laws.diagnosis import Diagnosis, diagnose, unjudged
from batchlab.laws.plateau import FRACTION_METRICS, Plateau
from batchlab.laws.scatter import generalization_gap
from batchlab.measure.registry import measurement_rows
from batchlab.records.estimate import Estimate
from batchlab.records.measurement import Measurement, OfTrial
from batchlab.records.study import Study
from batchlab.records.trial import Split, TrialRecord
from batchlab.report.cells import (
    Cell,
    Plateaus,
    figure_looks,
    final_gap,
    held_out_split,
    plateaus_of,
    status_text,
)
from batchlab.report.parts.figure import SPLITS
from batchlab.report.sweep_evidence import (
    Comparison,
    Evidence,
    Race,
    budget_split,
    metric_text,
    races,
)
from batchlab.report.table import Column, Table, Value
from batchlab.report.text import (
    interval_only_text,
    label_text,
    quantity_text,
    split_label,
    term_text,
)
from batchlab.words.catalogue import listing, text
from batchlab.words.reasons import reason_text

# What stands beside the picture on a page; a terminal has room for the rest.
_ON_A_PAGE = ("batch", "learning_rate", "train", "validation", "test", "generalization_gap")


def first_table(study: Study, chosen: Sequence[Cell]) -> Table:
    """The final metrics and the gap: what a page shows first; the rest is in its figures."""
    whole = summary_table(study, chosen)
    return whole.only(column.key for column in whole.columns if column.key in _ON_A_PAGE)


def summary_table(study: Study, chosen: Sequence[Cell]) -> Table:
    """Final metrics, gap, step time, throughput and memory of every batch size that is shown."""
    metric = study.workload.metrics[0].name
    held_out = held_out_split(study)
    labels = {look.batch_size: look.label for look in figure_looks(study)}
    of_batch_sizes = [row for row in measurement_rows().values() if row.of_batch_size is not None]
    rows: list[tuple[Value, ...]] = []
    for cell in chosen:
        finals = [cell.final(split, metric) for split in SPLITS]
        gap = None if held_out is None else cell.final_gap(held_out, metric)
        rows.append(
            (
                labels[cell.batch_size],
                cell.learning_rate,
                len(cell.ended_well),
                *(None if final is None else final.mean for final in finals),
                None if gap is None else gap.mean,
                *(row.value_of(study, cell.batch_size) for row in of_batch_sizes),
            )
        )
    return Table(
        caption=text(
            "By batch size: final {metric}, mean over the seeds that ended well",
            metric=label_text(metric),
        ),
        columns=(
            Column(key="batch", quantity="batch", label=text("batch size")),
            Column(key="learning_rate", quantity="learning_rate", label=text("rate")),
            Column(key="n", quantity="n", label=text("seeds")),
            *(Column(key=split, quantity=metric, label=term_text(split)) for split in SPLITS),
            Column(key="generalization_gap", quantity="generalization_gap", label=text("gap")),
            *map(_measured_column, of_batch_sizes),
        ),
        rows=tuple(rows),
    ).without_empty_columns()


def _measured_column(measurement: Measurement) -> Column:
    """Room is scarce here: the short header where the measurement has one."""
    name, short = measurement.quantity.name, measurement.short
    return Column(key=name, quantity=name, label=None if short is None else text(short))


def finals_table(evidence: Evidence) -> Table:
    """One row a batch size; an interval (95 %) follows its mean in brackets."""
    metric, held_out = evidence.metric, held_out_split(evidence.study)
    finals = {split: evidence.final(split) for split in SPLITS}
    rows: list[tuple[Value, ...]] = [
        (
            evidence.name(cell),
            cell.learning_rate,
            len(cell.ended_well),
            max(record.epochs for record in cell.ended_well),
            max(record.steps for record in cell.ended_well),
            *(
                None if final.level(cell) is None else _interval_text(metric, final.mean(cell))
                for final in finals.values()
            ),
            None if held_out is None else _gap_text(evidence, cell, held_out),
        )
        for cell in evidence.cells
    ]
    return Table(
        caption=text("Final {metric} with 95 % intervals", metric=label_text(metric)),
        columns=(
            Column(key="batch", quantity="batch", label=text("batch size")),
            Column(key="learning_rate", quantity="learning_rate", label=text("rate")),
            Column(key="n", quantity="n", label=text("seeds")),
            Column(key="epochs", quantity="epoch", label=text("epochs")),
            Column(key="steps", quantity="n", label=text("steps")),
            *(Column(key=split, quantity="batch", label=term_text(split)) for split in SPLITS),
            Column(key="generalization_gap", quantity="batch", label=text("gap")),
        ),
        rows=tuple(rows),
    ).without_empty_columns()


def _interval_text(metric: str, found: Estimate) -> str:
    mean, interval = quantity_text(metric, found.estimate), interval_only_text(metric, found)
    return text("{mean} ({interval})", mean=mean, interval=interval) if interval else mean


def _gap_text(evidence: Evidence, cell: Cell, split: Split) -> str | None:
    """The gap of one batch size; of a share of examples with the interval that counts them."""
    metric, workload = evidence.metric, evidence.study.workload
    gap = cell.final_gap(split, metric)
    if gap is None:
        return None
    pairs = [
        (train, held_out)
        for record in cell.ended_well
        if (train := record.final("train", metric)) is not None
        and (held_out := record.final(split, metric)) is not None
    ]
    n_held_out = workload.n_test if split == "test" else workload.n_validation
    are_shares = metric in FRACTION_METRICS and all(0 <= e <= 1 for pair in pairs for e in pair)
    if not (are_shares and n_held_out):
        return quantity_text("generalization_gap", gap.mean)
    found = generalization_gap(
        [train for train, _ in pairs],
        [held_out for _, held_out in pairs],
        n_train=workload.n_train,
        n_train_evaluated=workload.n_train_evaluated,
        n_held_out=n_held_out,
    )
    return _interval_text("generalization_gap", found)


def races_table(evidence: Evidence) -> Table:
    """One row a budget and batch size, the best first; no rows where there is nothing to race."""
    metric = evidence.metric
    return Table(
        caption=text(
            "{metric} in equal epochs, steps and time; the intervals of one budget hold together, "
            "95 times in 100",
            metric=metric_text(budget_split(evidence.study), metric),
        ),
        columns=(
            Column(key="budget", quantity="batch", label=text("budget")),
            Column(key="batch_size", quantity="batch", label=text("batch size")),
            Column(key="mean", quantity=metric, label=label_text(metric)),
            Column(key="behind", quantity=metric, label=text("behind the best by")),
            Column(key="interval", quantity="batch", label=text("95 % interval")),
            Column(key="standing", quantity="batch", label=text("how sure")),
        ),
        rows=tuple(row for race in races(evidence) for row in _rows(evidence, race)),
    )


def _rows(evidence: Evidence, race: Race) -> Iterator[tuple[Value, ...]]:
    budget = race.budget.words
    yield (budget, evidence.name(race.leader), race.level, None, "", text("ahead"))
    for other in race.others:
        found = other.comparison.difference
        yield (
            budget,
            evidence.name(other.cell),
            other.level,
            None if found.estimate is None else abs(found.estimate),
            interval_only_text(evidence.metric, found),
            _standing_text(evidence, other.comparison),
        )


def _standing_text(evidence: Evidence, comparison: Comparison) -> str:
    if comparison.missing is not None:
        return comparison.missing
    if comparison.outcome == "better":
        return text("worse")
    if comparison.outcome == "same":
        least = quantity_text(evidence.metric, evidence.tolerance)
        return text("as good, within {least}", least=least)
    return text("may be as good")


# In a table for people these would push the numbers out of sight; they get a table of their own.
REASONS = ("reason", "plateau_reason", "diagnosis_reason", "notes")
IDENTITY = ("trial_id", "batch_size", "learning_rate", "seed")


def trials_table(study: Study, plateaus: Plateaus | None = None) -> Table:
    """All trials with status, final metrics, gap, time, memory, plateau and diagnosis.

    Args:
        study: the study.
        plateaus: of its trials, where some are known already; None: they are fitted here.
    """
    plateaus = plateaus or plateaus_of(study)
    metric = study.workload.metrics[0].name
    names = [summary.name for summary in study.workload.metrics]
    plain = (
        "trial_id", "status", "batch_mode", "batch_size", "micro_batch_size", "learning_rate",
        "seed", "epochs", "steps",
    )  # fmt: skip
    columns = (
        *(_column(key) for key in plain),
        *(
            Column(key=f"{split}_{name}", quantity=name, label=split_label(split, name))
            for name in names
            for split in SPLITS
        ),
        Column(
            key="generalization_gap",
            quantity="generalization_gap",
            label=_gap_label(study, metric),
        ),
        *(_column(key) for key in ("train_s", "eval_s", *_of_trials(), "engine", "threads")),
        *(_column(key) for key in ("plateau", "plateau_epoch", "diagnosis", *REASONS)),
    )
    return Table(
        caption=text("All trials"),
        columns=columns,
        rows=tuple(tuple(_row(study, record, plateaus.of(record))) for record in study.records),
    )


def _of_trials() -> dict[str, OfTrial]:
    rows = measurement_rows().values()
    return {row.quantity.name: row.of_trial for row in rows if row.of_trial is not None}


_LABELS = {
    "trial_id": "trial",
    "batch_mode": "mode",
    "micro_batch_size": "micro-batch size",
    "epochs": "epochs",
    "steps": "steps",
    "plateau_epoch": "plateau epoch",
    "plateau_reason": "why this plateau",
    "diagnosis_reason": "why this diagnosis",
    "reason": "why it ended so",
    "status": "status",
    "seed": "seed",
    "engine": "engine",
    "threads": "threads",
    "plateau": "plateau",
    "diagnosis": "diagnosis",
    "notes": "notes",
}


def _column(key: str) -> Column:
    label = _LABELS.get(key)
    return Column(
        key=key,
        quantity="epoch" if key == "epochs" else key,
        label=None if label is None else text(label),
        has_terms=key in ("status", "batch_mode"),
    )


def _gap_label(study: Study, metric: str) -> str:
    held_out = held_out_split(study)
    return text(
        "gap ({metric}, train − {split})",
        metric=label_text(metric),
        split=text("held-out") if held_out is None else term_text(held_out),
    )


def _row(study: Study, record: TrialRecord, plateau: Plateau) -> Iterator[Value]:
    trial, first = record.trial, study.workload.metrics[0]
    held_out = held_out_split(study)
    found = diagnose(record, metric=first.name, better=first.better, plateau=plateau)
    yield from (trial.trial_id, status_text(record), trial.batch_mode)
    yield from (trial.batch_size, trial.micro_batch_size, trial.learning_rate, trial.seed)
    yield from (round(record.epochs, 4), record.steps)
    for summary in study.workload.metrics:
        for split in SPLITS:
            yield record.final(split, summary.name)
    yield final_gap(record, held_out, first.name) if held_out else None
    yield from (record.train_s, record.eval_s)
    yield from (of_trial(record) for of_trial in _of_trials().values())
    yield from (record.engine, record.threads)
    yield from (
        text(_PLATEAU_WORDS[plateau.verdict]),
        plateau.epoch,
        _diagnosis_text(record, found),
    )
    yield from (
        reason_text(record.reason) or None,
        reason_text(plateau.reason),
        _diagnosis_reason(record, found),
    )
    yield " ".join(map(reason_text, record.notes)) or None


_PLATEAU_WORDS = {
    "reached": "reached",
    "not_yet": "not yet",
    "cannot_tell": "can't tell",
}


def _diagnosis_text(record: TrialRecord, found: Sequence[Diagnosis]) -> str:
    """The names of what was found; "nothing found" only where every rule could look."""
    if found:
        return ", ".join(reason_text(diagnosis.rule.label) for diagnosis in found)
    return text("can't tell all") if unjudged(record) else text("nothing found")


def _diagnosis_reason(record: TrialRecord, found: Sequence[Diagnosis]) -> str | None:
    reasons = [
        text(
            "{label}: {evidence}. {advice}",
            label=reason_text(diagnosis.rule.label),
            evidence=reason_text(diagnosis.evidence),
            advice=reason_text(diagnosis.rule.sentence),
        )
        for diagnosis in found
    ]
    blind = unjudged(record)
    if blind:
        rules = ", ".join(reason_text(rule.label) for rule in blind)
        splits = listing(
            [term_text(split) for split in sorted({str(rule.needs) for rule in blind})]
        )
        reasons.append(
            text(
                "Not judged, for want of a curve on {splits} data: {rules}.",
                splits=splits,
                rules=rules,
            )
        )
    return " ".join(reasons) or None
