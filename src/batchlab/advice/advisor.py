"""The advisor: spend the budget of an advice on runs of an Engine."""

from __future__ import annotations

from collections.abc import Callable

from batchlab.advice.advice import Advice, Question
from batchlab.advice.answer import answered
from batchlab.advice.decider import Decided, decide
from batchlab.advice.run_log import CellKey, RunLog, RunWatcher
from batchlab.belief.recorded_prior import PRIOR
from batchlab.belief.surface import SurfacePrior
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
