"""The advisor: spend the budget of an advice on runs of an Engine."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable

from batchlab.advice.advice import Advice, Question
from batchlab.advice.answer import answered
from batchlab.advice.decider import Decided, decide
from batchlab.advice.run_log import CellKey, RunLog, RunWatcher
from batchlab.belief.recorded_prior import PRIOR
from batchlab.belief.surface import SurfacePrior
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.study import BestSoFar
from batchlab.records.trial import TrialRecord
from batchlab.runs.contract import Engine


def advise(
    question: Question,
    engine: Engine,
    *,
    watcher: RunWatcher | None = None,
    with_all_options: Callable[[], Question] | None = None,
    in_turn: Callable[[int, int], Estimate | None] | None = None,
    prior: SurfacePrior = PRIOR,
) -> Advice:
    """Answer the question with runs of the engine, within its budget.

    It is deterministic: the same answers and clock readings of the engine give the same requests
    and the same advice, so that an interrupted study can be replayed.

    Args:
        question: the question.
        engine: makes the runs.
        watcher: observes which runs are requested; no decision depends on it.
        with_all_options: returns the question with all its options. It is called after the first
            part of the pilot, while nothing runs; `question` may have only the reference's option.
        in_turn: returns step_time(second) / step_time(first) of two batch sizes, measured by
            alternating both, or None if it cannot be measured.
        prior: the prior of the surfaces.

    Raises:
        UsageError: the target is met before the first step.
    """
    log = RunLog(question=question, engine=engine, until=question.target, watcher=watcher)
    reference = CellKey(question.reference.batch_size, question.reference.learning_rate)
    stopped = question.not_comparable
    note = question.option(reference.batch_size).note
    if stopped is None and note is not None:
        stopped = Reason.of("reference_cannot_run", size=reference.batch_size, why=note)
    if stopped is not None:
        return answered(
            Decided(cell=reference, stopped=stopped, origin=question.target_origin), log
        )
    decided = decide(log, prior, with_all_options=with_all_options, in_turn=in_turn)
    return answered(decided, log)


def best_so_far(run_log: RunLog) -> BestSoFar | None:
    """Return the configuration with the best mean over seeds; None before any met the target.

    A batch size that was ruled out does not lead, nor does a rate at which a run failed or missed
    the target. The leader is uncertain: with few seeds the best of many looks better than it is.
    """
    question = run_log.question
    figures: dict[CellKey, list[float]] = defaultdict(list)
    failed = set()
    for (cell, _), record in run_log.records.items():
        figure = _figure(run_log, record)
        if figure is None or cell.batch_size in run_log.ruled_out:
            failed.add(cell)
        else:
            figures[cell].append(figure)
    means = {cell: statistics.fmean(figures[cell]) for cell in figures.keys() - failed}
    if not means:
        return None
    sign = 1
    if question.objective == "quality":
        sign = -question.sign
    best = min(means, key=lambda cell: (sign * means[cell], cell))
    quantity = {"time": "time_to_target_s", "samples": "samples_to_target"}
    return BestSoFar(
        batch_size=best.batch_size,
        learning_rate=best.learning_rate,
        quantity=quantity.get(question.objective, question.metric),
        value=means[best],
    )


def _figure(run_log: RunLog, record: TrialRecord) -> float | None:
    """Return a run's seconds or examples to the target, or its metric; None if it has none."""
    question = run_log.question
    if question.objective == "quality":
        return question.best_value(record) if record.ended_well else None
    steps, size = run_log.steps_to_level(record), record.trial.batch_size
    if not steps:
        return None
    if question.objective == "samples":
        return steps * size
    return question.option(size).step_s.times(steps).estimate
