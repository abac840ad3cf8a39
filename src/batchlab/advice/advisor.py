"""The advisor: answer a question by training runs on an Engine, within a budget."""

from __future__ import annotations

from collections.abc import Callable

from batchlab.advice.advice import Advice, Question
from batchlab.advice.answer import Decided, answered
from batchlab.advice.early_race import EarlyRace
from batchlab.advice.level import EndLevel, end_so_far, untrained_value
from batchlab.advice.pilot import run_pilot
from batchlab.advice.procedure import Procedure
from batchlab.advice.run_log import NEARLY_WHOLE, CellKey, RunLog, RunWatcher, why_it_failed
from batchlab.advice.study import AdviceStudy, missed
from batchlab.belief.surface import PRIOR, SurfacePrior
from batchlab.errors import UsageError
from batchlab.laws.step_time import timed_in_turn
from batchlab.records.estimate import Estimate, Reason
from batchlab.runs.contract import Engine

# If the budget pays for fewer whole trainings, statistics lack data, so use `EarlyRace`.
_RACES_BELOW = 2.0
# The fraction of the budget that the first run may take if the user gave a target.
_FIRST_SHARE = 0.25
# More workers than this save little time, because most runs depend on earlier results.
_MOST_AT_ONCE = 2
TimeInTurn = Callable[[int, int], Estimate | None]
"""A function of batch sizes a and b: returns step_time(b) / step_time(a), or None if unknown."""


def advise(
    question: Question,
    engine: Engine,
    *,
    watcher: RunWatcher | None = None,
    with_all_options: Callable[[], Question] | None = None,
    in_turn: TimeInTurn | None = None,
    prior: SurfacePrior = PRIOR,
) -> Advice:
    """Answer the question by training runs on the engine, within the budget of the question.

    The answer is deterministic: the same records and clock times from the engine lead to the same
    requests and the same advice, so an interrupted study can be replayed.

    Args:
        question: what to find out, and the budget.
        engine: makes the runs.
        watcher: observes which runs are requested; no decision depends on it.
        with_all_options: profiles all batch sizes and returns the question with all options; called
            after the first part of the pilot. Until then, only the reference's option is used.
        in_turn: returns step_time(second) / step_time(first) of two batch sizes, measured by
            alternating between both sizes, or None if the ratio cannot be measured.
        prior: the belief about costs and final values before any run.

    Raises:
        UsageError: the untrained model already reaches the target.
    """
    log = RunLog(question=question, engine=engine, until=question.target, watcher=watcher)
    return answered(decide(log, prior, with_all_options, in_turn), log)


def decide(
    log: RunLog,
    prior: SurfacePrior,
    with_all_options: Callable[[], Question] | None = None,
    in_turn: TimeInTurn | None = None,
) -> Decided:
    """Run a study from an empty log, and choose a configuration; see `advise` for the arguments."""
    question = log.question
    reference = question.reference
    own_size, stopped = reference.batch_size, question.not_comparable
    (note,) = (option.note for option in question.options if option.batch_size == own_size)
    own_cell = CellKey(own_size, reference.learning_rate)
    if stopped is None and note is not None:
        stopped = Reason.of("reference_cannot_run", size=own_size, why=note)
    if stopped is not None:
        return Decided(cell=own_cell, stopped=stopped)
    end: EndLevel | None = None
    if question.target is None and question.objective != "quality":
        result = run_pilot(log, with_all_options)
        if isinstance(result, Reason):
            return Decided(cell=own_cell, stopped=result)
        end = result
        log.whole_epochs = end.epochs
        log.whole_only = _compares_whole(log)
    study = AdviceStudy(log, prior)
    study.end = end
    stopped = _take_in_first_runs(study, own_cell)
    if stopped is not None:
        return Decided(cell=own_cell, stopped=stopped)
    n_whole = _n_whole(study)
    procedure = Procedure(study, n_whole=n_whole)
    races = end is not None and n_whole < _RACES_BELOW
    if races:
        study.keeps_epochs = True  # prolonged runs would use up this small budget
        named = _raced(EarlyRace(procedure), procedure, in_turn)
    else:
        named = procedure.explore()
        while _timed_in_turn(study, named, in_turn):
            named = procedure.explore()
    return Decided(
        cell=study.cells[named].cell,
        procedure=procedure,
        raced=races,
    )


def _compares_whole(log: RunLog) -> bool:
    """Return whether the study compares only whole trainings.

    It does if a learning-rate schedule makes shorter trainings incomparable, the pilot was nearly a
    whole training, and the budget pays for at least two whole trainings.
    """
    question, pilot_epochs = log.question, log.whole_epochs
    planned, own_size = question.planned_epochs, question.reference.batch_size
    if not log.has_schedule or question.stops_early or planned is None or pilot_epochs is None:
        return False
    whole_s = log.run_s(own_size, log.steps_in(own_size, planned))
    return pilot_epochs >= NEARLY_WHOLE * planned and _n_trainings(log, whole_s) >= _RACES_BELOW


def _take_in_first_runs(study: AdviceStudy, own: CellKey) -> Reason | None:
    """Add the pilot's runs to the study or, without a pilot, a run of the reference.

    Return the reason if that run gives no result (it failed, or the budget ended), else None.
    """
    log, question = study.log, study.question
    if study.end is not None:
        for (cell, seed), record in log.records.items():
            study.take_in(study.at(cell), seed, record)
        study.set_level()
        return None
    whole = study.whole_steps(study.own)
    if question.objective == "quality":
        request = log.request(own, 0, steps=whole, whole=True)
    else:
        affordable = log.affordable_steps(own.batch_size, _FIRST_SHARE * question.budget_s)
        request = log.request(own, 0, steps=min(whole, affordable))
    (record,) = log.run([request], "pilot")
    target = question.target
    if target is not None and target.met_by(value := untrained_value(record, target.metric)):
        raise UsageError(
            f"target {target.metric}={target.value:g}: it is met before the first step (the "
            f"untrained model has {value:g}); give a level that takes training"
        )
    if record.has_failed and not record.has_diverged:
        return Reason.of("own_fails", why=why_it_failed(record))
    if len(record.evaluations) <= 1 and not record.has_failed:
        return Reason.of("budget_ended_before_reference")
    if question.objective == "quality":
        study.end = end_so_far(question, record)
    if study.log.until is not None:
        study.most_cost = request.last_step * study.weight[own.batch_size]
    # A script's last evaluation may come well before its last step, so base the guess of the steps
    # to the target on the last step.
    study.take_in(study.own, 0, record, guess=missed(request.last_step))
    return None


def _n_whole(study: AdviceStudy) -> float:
    """Return how many whole trainings of the reference configuration the budget can pay for."""
    one = study.cells[study.own]
    whole_s = study.whole_s(study.own) / study.fraction
    if not study.compares_ends and 0 in one.records:
        whole_s = study.log.run_s(one.cell.batch_size, one.records[0].steps)
    return _n_trainings(study.log, whole_s)


def _n_trainings(log: RunLog, one_s: float) -> float:
    """Return how many trainings of `one_s` seconds the budget can pay for on all workers."""
    at_once = min(_MOST_AT_ONCE, max(1, log.engine.n_workers))
    return log.question.budget_s * at_once / one_s


def _timed_in_turn(study: AdviceStudy, named: int, in_turn: TimeInTurn | None) -> bool:
    """Time steps of the chosen and the reference batch size alternately; return False if skipped.

    Other load during the profile may have slowed down only one of these two batch sizes.
    """
    own_size, size = study.question.reference.batch_size, int(study.sizes[named])
    if study.question.objective != "time" or size == own_size or size in study.timed:
        return False
    times = in_turn and in_turn(own_size, size)
    if times is None:
        return False
    before = study.options[own_size].step_s
    own_s, size_s, ratio_sd = timed_in_turn(before, study.options[size].step_s, times)
    moved = (own_s.estimate or 1.0) / (before.estimate or 1.0)
    # Scale the step times from earlier calls, to keep their ratios to the reference's step time.
    again = {}
    for other in study.timed:
        again[other] = study.options[other].step_s.times(moved)
    study.timed[size] = ratio_sd
    study.time_again(again | {own_size: own_s, size: size_s})
    did = Reason.of("time_in_turn", size=size, other=own_size)
    study.log.note(did, Reason.of("load_falls_on_both"))
    return True


def _raced(race: EarlyRace, procedure: Procedure, in_turn: TimeInTurn | None) -> int:
    """Choose a configuration by an early race; time its steps again, and train it on more seeds."""
    study = procedure.study
    race.run()
    while True:
        named = race.soonest
        if _timed_in_turn(study, named, in_turn):
            continue
        procedure.confirm(named)
        if race.soonest == named:
            return procedure.outlook.stays(study.nameable) if named == study.own else named
