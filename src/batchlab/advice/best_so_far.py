"""Best so far: what leads by the runs of a study that is still under way."""

from __future__ import annotations

import statistics
from collections import defaultdict

from batchlab.advice.objective import best_value
from batchlab.advice.run_log import CellKey, RunLog
from batchlab.advice.tuning import learning_cost_of
from batchlab.records.best_so_far import BestSoFar
from batchlab.records.trial import TrialRecord


def best_so_far(run_log: RunLog) -> BestSoFar | None:
    """What leads by the mean over its seeds, None before any run met the target.

    Neither a batch size that was ruled out leads, nor a rate at which a run failed or missed the
    target. Nothing is certain about it: with few seeds the best of many looks better than it is.

    Args:
        run_log: the runs so far.
    """
    question = run_log.question
    figures: dict[CellKey, list[float | None]] = defaultdict(list)
    for (batch_size, learning_rate, _), record in run_log.records.items():
        if batch_size not in run_log.ruled_out:
            figures[batch_size, learning_rate].append(_figure(run_log, record))
    means = {
        cell: statistics.fmean(known)
        for cell, found in figures.items()
        if len(known := [figure for figure in found if figure is not None]) == len(found)
    }
    if not means:
        return None
    is_metric = question.objective == "quality"
    most = is_metric and question.better == "higher"
    cell = min(means, key=lambda each: (-means[each] if most else means[each], each))
    quantity = {"time": "time_to_target_s", "samples": "samples_to_target"}
    return BestSoFar(
        batch_size=cell[0],
        learning_rate=cell[1],
        quantity=quantity.get(question.objective, question.metric),
        value=means[cell],
    )


def _figure(run_log: RunLog, record: TrialRecord) -> float | None:
    """Seconds or examples to the target, or the metric itself; None: it has none."""
    question, batch_size = run_log.question, record.trial.batch_size
    if question.objective == "quality":
        if not record.ended_well:
            return None
        return best_value(record, question.metric, question.better)
    if run_log.until is None:
        return None
    steps = learning_cost_of(run_log, record)
    if steps is None:
        return None
    if question.objective == "samples":
        return steps * run_log.examples_per_step(batch_size)
    step_s = question.option(batch_size).step_s.estimate
    return None if step_s is None else steps * step_s
