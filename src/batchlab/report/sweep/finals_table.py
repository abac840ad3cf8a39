"""Finals table: every final metric and the generalization gap with their intervals."""

from __future__ import annotations

from batchlab.laws.plateau import FRACTION_METRICS
from batchlab.laws.scatter import generalization_gap
from batchlab.records.estimate import Estimate
from batchlab.records.trial import Split
from batchlab.report.parts.estimate_text import interval_only_text
from batchlab.report.parts.figure import SPLITS
from batchlab.report.parts.held_out import held_out_split
from batchlab.report.parts.quantity_text import label_text, quantity_text
from batchlab.report.parts.table import Column, Table, Value
from batchlab.report.parts.term_text import term_text
from batchlab.report.sweep.cells import Cell
from batchlab.report.sweep.evidence import Evidence
from batchlab.words.catalogue import text


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
