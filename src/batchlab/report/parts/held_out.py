"""Held out: the data that a train metric is held against, and the gap between the two."""

from __future__ import annotations

from collections.abc import Iterable

from batchlab.records.study import Study
from batchlab.records.trial import Split, TrialRecord
from batchlab.report.parts.spread import Spread


def deciding_split(study: Study) -> Split:
    """The split that learning rates are compared on: never the test set."""
    return "validation" if study.workload.has_validation else "train"


def held_out_split(study: Study) -> Split | None:
    """The split that the train metric is held against: test, else validation, else none."""
    if study.workload.n_test:
        return "test"
    return "validation" if study.workload.has_validation else None


def final_gap(record: TrialRecord, held_out: Split, metric: str) -> float | None:
    """Train metric less held-out metric at the last evaluation; None if it does not know both."""
    train, other = record.final("train", metric), record.final(held_out, metric)
    return None if train is None or other is None else train - other


def finals(records: Iterable[TrialRecord], split: Split, metric: str) -> Spread | None:
    """The last value of `metric` of every trial that knows it; None where none does.

    Args:
        records: one a seed, each ended well.
        split: of the data.
        metric: its name.
    """
    return _spread(record.final(split, metric) for record in records)


def final_gaps(records: Iterable[TrialRecord], held_out: Split, metric: str) -> Spread | None:
    """The same of train metric less held-out metric, of the trials that know both."""
    return _spread(final_gap(record, held_out, metric) for record in records)


def _spread(values: Iterable[float | None]) -> Spread | None:
    known = tuple(value for value in values if value is not None)
    return Spread(values=known) if known else None
