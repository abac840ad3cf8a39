"""The tables of a sweep: by batch size, by trial."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from batchlab.belief.final_value import final_of
from batchlab.laws.diagnosis import Diagnosis, diagnose, unjudged
from batchlab.laws.plateau import Plateau
from batchlab.measure.measurements import measurement_rows
from batchlab.records.batch_plan import Stage
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.measurement import Measurement
from batchlab.records.study import Study
from batchlab.records.trial import Crossing, Split, Target, TrialRecord
from batchlab.report.cells import (
    Cell,
    cell_label,
    final_gap,
    has_plans,
    held_out_split,
    kind_word,
    mean_of,
    plan_name,
    plateaus_of,
    status_text,
)
from batchlab.report.figure import SPLITS
from batchlab.report.sweep_evidence import (
    Behind,
    Evidence,
    Measured,
    Race,
    budget_split,
    metric_text,
    races,
)
from batchlab.report.table import Column, Table, Value, table_of
from batchlab.report.text import (
    interval_only_text,
    label_text,
    quantity_text,
    split_label,
)
from batchlab.words.catalogue import listing, term_text, text
from batchlab.words.reasons import reason_text

# ---- by batch size

# What stands beside the picture on a page; a terminal has room for the rest.
_ON_A_PAGE = (
    *("batch", "learning_rate", "n", "train", "validation", "test", "generalization_gap"),
    "equal_time_s",
)


def first_table(study: Study, chosen: Sequence[Cell]) -> Table:
    """The final metrics and the gap: what a page shows first; the rest is in its figures."""
    whole = summary_table(study, chosen)
    return whole.only(column.key for column in whole.columns if column.key in _ON_A_PAGE)


def summary_table(study: Study, chosen: Sequence[Cell]) -> Table:
    """Final metrics, gap, step time, throughput and memory of every batch size that is shown.

    A plan has no one step time, so a study of plans has the time of each training as well.
    """
    metric, held_out = study.workload.metrics[0].name, held_out_split(study)

    def final(split: Split) -> Column:
        def mean(cell: Cell) -> float | None:
            return mean_of(cell.final(study, split))

        return Column(split, metric, term_text(split), of=mean)

    def gap(cell: Cell) -> float | None:
        return None if held_out is None else mean_of(cell.final_gap(held_out, metric))

    def measured(row: Measurement) -> Column:
        """Room is scarce here: the short header where the measurement has one."""

        def value(cell: Cell) -> float | None:
            return row.value_of(study, cell.kind) if isinstance(cell.kind, int) else None

        label = None if row.short is None else text(row.short)
        return Column(row.quantity.name, label=label, of=value)

    def train_s(cell: Cell) -> float | None:
        if not (has_plans(chosen) and cell.ended_well):
            return None
        first = cell.ended_well[0]
        return study.train_s(first.trial, first.steps)

    return table_of(
        text(
            "By {kind}: final {metric}, mean over the seeds that ended well",
            kind=kind_word(chosen),
            metric=label_text(metric),
        ),
        chosen,
        Column("batch", label=kind_word(chosen), of=lambda cell: cell_label(study, cell)),
        Column("learning_rate", label=text("rate"), of=attrgetter("shown_rate")),
        Column("n", label=text("seeds"), of=lambda cell: len(cell.ended_well)),
        *map(final, SPLITS),
        Column("generalization_gap", label=text("gap"), of=gap),
        Column("equal_time_s", label=text("time"), of=train_s),
        *(measured(row) for row in measurement_rows().values() if row.of_batch_size is not None),
    ).without_empty_columns()


def finals_table(evidence: Evidence) -> Table:
    """One row a batch size; an interval (95 %) follows its mean in brackets."""
    metric, held_out = evidence.metric, held_out_split(evidence.study)

    def column(key: str, label: str, measured: Measured, quantity: str) -> Column:
        def mean(cell: Cell) -> str | None:
            known = measured.level(cell) is not None
            return _interval_text(quantity, measured.mean(cell)) if known else None

        return Column(key, label=label, of=mean)

    finals = [column(split, term_text(split), evidence.final(split), metric) for split in SPLITS]
    if held_out is not None:
        name = "generalization_gap"
        finals.append(column(name, text("gap"), evidence.final_gaps(held_out), name))
    return table_of(
        text("Final {metric} with 95 % intervals over seeds", metric=label_text(metric)),
        evidence.cells,
        Column("batch", label=kind_word(evidence.cells), of=evidence.name),
        Column("learning_rate", label=text("rate"), of=attrgetter("shown_rate")),
        Column("n", label=text("seeds"), of=lambda cell: len(cell.ended_well)),
        Column("epochs", "epoch", text("epochs"), of=lambda c: max(r.epochs for r in c.ended_well)),
        Column("steps", "n", text("steps"), of=lambda c: max(r.steps for r in c.ended_well)),
        *finals,
    ).without_empty_columns()


def _interval_text(metric: str, found: Estimate) -> str:
    mean, interval = quantity_text(metric, found.estimate), interval_only_text(metric, found)
    return text("{mean} ({interval})", mean=mean, interval=interval) if interval else mean


def races_table(evidence: Evidence) -> Table:
    """One row a budget and batch size, the best first; no rows where there is nothing to race."""
    metric = evidence.metric
    raced = races(evidence)
    equal = listing([text(race.budget.name) for race in raced]) if raced else ""
    caption = "{metric} in equal {equal}, with 95 % intervals"
    rows: list[tuple[Value, ...]] = []
    for race in raced:
        budget = race.budget.words
        rows.append((budget, evidence.name(race.leader), race.level, None, "", text("ahead")))
        for other in race.others:
            difference = other.comparison.difference
            behind = None if difference.estimate is None else abs(difference.estimate)
            interval, size = interval_only_text(metric, difference), evidence.name(other.cell)
            how_sure = _standing_text(evidence, race, other)
            rows.append((budget, size, other.level, behind, interval, how_sure))
    return Table(
        caption=text(
            caption, metric=metric_text(budget_split(evidence.study), metric), equal=equal
        ),
        columns=(
            Column("budget", label=text("budget")),
            Column("batch_size", label=kind_word(evidence.cells)),
            Column("mean", metric, label_text(metric)),
            Column("behind", metric, text("behind the best by")),
            Column("interval", label=text("95 % interval")),
            Column("standing", label=text("how sure")),
        ),
        rows=tuple(rows),
    )


def _standing_text(evidence: Evidence, race: Race, other: Behind) -> str:
    comparison = other.comparison
    if comparison.missing is not None:
        return comparison.missing
    if comparison.outcome == "same":
        least = quantity_text(evidence.metric, evidence.margin)
        return text("as good, within {least}", least=least)
    is_as_good = other.cell.kind in (*race.best, *race.as_good)
    return text("may be as good") if is_as_good else text("worse")


# ---- by trial


class TrialDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One trial: what was asked, how it ended, what it reached."""

    trial_id: str
    status: str
    reason: Reason | None
    engine: str
    threads: int
    device: str
    world_size: int
    place: str | None
    batch_mode: str
    batch_size: int
    micro_batch_size: int
    sampling: str
    drop_last: bool
    learning_rate: float
    scaling_rule: str
    stages: tuple[Stage, ...]
    seed: int
    epochs: float
    steps: int
    samples: int
    train_s: float
    eval_s: float
    peak_bytes: int | None
    step_s: float | None
    target: Target | None
    steps_to_target: int | None
    samples_to_target: int | None
    crossing: Crossing | None
    resumed_from_step: tuple[int, ...]
    plateau: str
    plateau_epoch: int | None
    diagnosis: tuple[str, ...]
    final: dict[str, dict[str, float | None]]
    generalization_gap: float | None
    notes: tuple[Reason, ...]


class _Told(NamedTuple):
    """A trial with what was made of it."""

    document: TrialDocument
    record: TrialRecord
    plateau: Plateau
    diagnoses: Sequence[Diagnosis]


def _told(study: Study) -> Iterator[_Told]:
    first, plateaus = study.workload.metrics[0], plateaus_of(study)
    for record in study.records:
        plateau = plateaus(record)
        found = diagnose(record, metric=first.name, better=first.better, plateau=plateau)
        yield _Told(_document(study, record, plateau, found), record, plateau, found)


def trial_documents(study: Study) -> tuple[TrialDocument, ...]:
    """Every trial as `--json` prints it."""
    return tuple(told.document for told in _told(study))


def _document(
    study: Study, record: TrialRecord, plateau: Plateau, diagnoses: Sequence[Diagnosis]
) -> TrialDocument:
    metrics, held_out = study.workload.metrics, held_out_split(study)
    crossing = None if study.target is None else record.crossing(study.target)
    timing = study.timing(record.trial.batch_size)
    # Fields that have the name of an attribute of the record, or else of its trial.
    taken: dict[str, Any] = {
        name: getattr(source, name)
        for source in (record.trial, record)
        for name in TrialDocument.__struct_fields__
        if hasattr(source, name)
    }
    made = dict(
        status=status_text(record),
        step_s=None if timing is None or record.trial.stages else timing.step_s,
        target=study.target,
        steps_to_target=None if crossing is None else crossing.step,
        samples_to_target=None if crossing is None else crossing.samples,
        crossing=crossing,
        resumed_from_step=record.resumed_from_steps,
        plateau=plateau.verdict,
        plateau_epoch=plateau.epoch,
        diagnosis=tuple(found.rule.name for found in diagnoses),
        final={
            split: {m.name: final_of(record, split, m.name, m.better) for m in metrics}
            for split in SPLITS
            if any(score.split == split for e in record.evaluations for score in e.scores)
        },
        generalization_gap=None
        if held_out is None
        else final_gap(record, held_out, metrics[0].name),
    )
    return TrialDocument(**(taken | made))


_PLATEAU = {"reached": "reached", "not_yet": "not yet", "cannot_tell": "can't tell"}


def trials_table(study: Study) -> Table:
    """All trials with status, final metrics, gap, time, memory, plateau and diagnosis."""
    metric = study.workload.metrics[0].name

    def field(key: str, label: str | None = None, *, has_terms: bool = False) -> Column:
        """What the trial's document has, too."""
        quantity = None if has_terms else key
        return Column(key, quantity, label, has_terms, lambda told: getattr(told.document, key))

    def final(split: Split, name: str) -> Column:
        label = split_label(split, name)
        key = f"{split}_{name}"
        return Column(key, name, label, of=lambda t: t.document.final.get(split, {}).get(name))

    def measured(row: Measurement) -> Column:
        assert row.of_trial is not None
        of_trial = row.of_trial
        return Column(row.quantity.name, of=lambda told: of_trial(told.record))

    def rate(told: _Told) -> float | None:
        return told.document.learning_rate if study.workload.takes_rate else None

    return table_of(
        text("All trials"),
        _told(study),
        field("trial_id", text("trial")),
        field("status", text("status"), has_terms=True),
        field("batch_mode", text("mode"), has_terms=True),
        field("batch_size"),
        field("micro_batch_size", text("micro-batch size")),
        Column("learning_rate", of=rate),
        Column("plan", label=text("plan"), of=lambda t: plan_name(study, t.record.trial)),
        field("seed", text("seed")),
        Column("epochs", "epoch", text("epochs"), of=lambda t: round(t.record.epochs, 4)),
        field("steps", text("steps")),
        *(final(split, row.name) for row in study.workload.metrics for split in SPLITS),
        field("generalization_gap", _gap_label(study, metric)),
        field("train_s"),
        field("eval_s"),
        *(measured(row) for row in measurement_rows().values() if row.of_trial is not None),
        field("engine", text("engine")),
        field("threads", text("threads")),
        Column("plateau", label=text("plateau"), of=lambda t: text(_PLATEAU[t.plateau.verdict])),
        field("plateau_epoch", text("plateau epoch")),
        Column("diagnosis", label=text("diagnosis"), of=_diagnosis_text),
        Column("reason", None, text("why it ended so"), of=lambda t: _reasons(t.record.reason)),
        Column(
            "plateau_reason",
            None,
            text("why this plateau"),
            of=lambda t: _reasons(t.plateau.reason),
        ),
        Column("diagnosis_reason", label=text("why this diagnosis"), of=_diagnosis_reason),
        Column("notes", label=text("notes"), of=lambda t: _reasons(*t.record.notes)),
    )


def _reasons(*reasons: Reason | None) -> str | None:
    return " ".join(map(reason_text, reasons)) or None


def _gap_label(study: Study, metric: str) -> str:
    held_out = held_out_split(study)
    return text(
        "gap ({metric}, train − {split})",
        metric=label_text(metric),
        split=text("held-out") if held_out is None else term_text(held_out),
    )


def _diagnosis_text(told: _Told) -> str:
    """The names of what was found; "nothing found" only where every rule could look."""
    if told.diagnoses:
        return ", ".join(reason_text(diagnosis.rule.label) for diagnosis in told.diagnoses)
    return text("can't tell all") if unjudged(told.record) else text("nothing found")


def _diagnosis_reason(told: _Told) -> str | None:
    reasons = [
        text(
            "{label}: {evidence}. {advice}",
            label=reason_text(diagnosis.rule.label),
            evidence=reason_text(diagnosis.evidence),
            advice=reason_text(diagnosis.rule.sentence),
        )
        for diagnosis in told.diagnoses
    ]
    blind = unjudged(told.record)
    if blind:
        splits = sorted({str(rule.needs) for rule in blind})
        reasons.append(
            text(
                "Not judged, for want of a curve on {splits} data: {rules}.",
                splits=listing([term_text(split) for split in splits]),
                rules=", ".join(reason_text(rule.label) for rule in blind),
            )
        )
    return " ".join(reasons) or None
