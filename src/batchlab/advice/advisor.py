"""The advisor: answer a question by training runs on an Engine, within a budget."""

from __future__ import annotations

from collections.abc import Callable

from batchlab.advice.advice import Advice, Question
from batchlab.advice.answer import answered
from batchlab.advice.decider import Decided, decide
from batchlab.advice.run_log import CellKey, RunLog, RunWatcher
from batchlab.belief.surface import PRIOR, SurfacePrior
from batchlab.records.estimate import Estimate, Reason
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

    Deterministic: the same records and clock times from the engine lead to the same requests and
    the same advice, so an interrupted study can be replayed.

    Args:
        question: what to find out, and the budget.
        engine: makes the runs.
        watcher: observes which runs are requested; no decision depends on it.
        with_all_options: profiles all batch sizes and returns the question with all options; called
            after the first part of the pilot. Until then, only the reference's option is used.
        in_turn: returns step_time(second) / step_time(first) of two batch sizes, measured by
            alternating between them, or None if it cannot be measured.
        prior: the belief about costs and final values before any run.

    Raises:
        UsageError: the untrained model already reaches the target.
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
