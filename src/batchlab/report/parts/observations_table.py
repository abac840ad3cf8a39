"""The observations table: every number that was seen while the trials ran, in long format."""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.records.study import Study
from batchlab.records.trial import TrialRecord
from batchlab.report.parts.table import Column, Table, Value
from batchlab.words.catalogue import text


def observations_table(study: Study) -> Table:
    """Every observation of every trial in long format: one row a number that was seen.

    `batch_loss` and what was measured of the model belong to no split: their split is empty. A
    trial without any evaluation has one row with an empty metric, so that it is not missing.
    """
    names = ("trial_id", "batch_size", "learning_rate", "seed", "epoch", "step", "samples")
    times = ("train_s", "eval_s", "equal_time_s")
    columns = tuple(
        Column(key=name, quantity=name) for name in (*names, *times, "split", "metric", "value")
    )
    rows = tuple(row for record in study.records for row in _observations(study, record))
    return Table(caption=text("Every observation of every trial"), columns=columns, rows=rows)


def _observations(study: Study, record: TrialRecord) -> Iterator[tuple[Value, ...]]:
    trial = record.trial
    identity = (trial.trial_id, trial.batch_size, trial.learning_rate, trial.seed)
    timing = study.timing(trial.batch_size)
    if not record.evaluations:
        yield (*identity, *([None] * 9))
    for evaluation in record.evaluations:
        place = (
            round(record.epoch_of(evaluation), 6),
            evaluation.step,
            evaluation.samples,
            evaluation.train_s,
            evaluation.eval_s,
            None if timing is None else evaluation.step * timing.step_s,
        )
        for score in evaluation.scores:
            yield (*identity, *place, score.split, score.metric, score.value)
        if evaluation.step:
            yield (*identity, *place, None, "batch_loss", evaluation.batch_loss)
        for name, value in evaluation.measured:
            yield (*identity, *place, None, name, value)
