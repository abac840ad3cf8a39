"""Decider: a study from its pilot to the configuration to name, by one belief."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from batchlab.advice.advice import Question, TargetOrigin
from batchlab.advice.early_race import EarlyRace
from batchlab.advice.level import end_so_far, untrained_value
from batchlab.advice.pilot import Piloted, pilot
from batchlab.advice.procedure import Procedure
from batchlab.advice.run_log import CellKey, RunLog, why_it_failed
from batchlab.advice.study import Study, missed
from batchlab.belief.outlook import estimate_of
from batchlab.belief.surface import SurfacePrior
from batchlab.errors import UsageError
from batchlab.laws.step_time import timed_in_turn
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.trial import TrialRecord

# With fewer whole trainings than that the belief has too little to go by, and single runs race.
_RACES_BELOW = 2.0
# A first run to a level that was given may take so much of the budget.
_FIRST_SHARE = 0.25
# The chance that what a race names is no slower and no worse, no more than recorded answers showed:
# if its rate lies two octaves or more above the ridge through the user's, and otherwise.
_FAR_RATE, _RACED_FAR, _RACED_NEAR = 2.0, 0.95, 0.8
# More places than that hardly shorten what has to wait for the run before.
_MOST_AT_ONCE = 2
InTurn = Callable[[int, int], Estimate | None]
"""Times two batch sizes in turn: the second one's step time over the first's; None: not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """What a study came to.

    Attributes:
        cell: the configuration to name.
        stopped: why nothing could be compared; None where something was.
        origin: where the level comes from.
        hardly_learns: that the reference stays near the untrained model; None: it learns.
        stays: whether `cell` is what the user has, or for want of that the same batch size at its
            best rate.
        chance: that five more trainings of it are neither slower nor end worse than the reference.
        gain: the reference's cost to the level over that of `cell`.
        gain_from_batch_size: the same of the reference batch size at its best rate.
        study: what is known; None where nothing could be compared.
        procedure: with the belief at the end.
    """

    cell: CellKey
    stopped: Reason | None = None
    origin: TargetOrigin = "pilot"
    hardly_learns: Reason | None = None
    stays: bool = True
    chance: float | None = None
    gain: Estimate | None = None
    gain_from_batch_size: Estimate | None = None
    study: Study | None = None
    procedure: Procedure | None = None


def decide(
    log: RunLog,
    prior: SurfacePrior,
    *,
    asked_whole: Callable[[], None] | None = None,
    in_turn: InTurn | None = None,
) -> Decided:
    """Run a study within its budget, and name a configuration.

    Args:
        log: asked for the runs; nothing ran yet.
        prior: of the surfaces.
        asked_whole: as for `pilot`.
        in_turn: times what is to be named and the reference.
    """
    question = log.question
    reference = question.reference
    own = (reference.batch_size, reference.learning_rate)
    piloted = Piloted()
    if question.target is None and question.objective != "quality":
        piloted = pilot(log, asked_whole=asked_whole)
        if piloted.stopped is not None or piloted.end is None:
            return Decided(cell=own, stopped=piloted.stopped, hardly_learns=piloted.hardly_learns)
        log.whole_epochs = piloted.end.epochs
    study = Study(log, prior)
    study.end = piloted.end
    stopped = _take_in_first_runs(study, own)
    if stopped is not None:
        return Decided(cell=own, stopped=stopped, origin=question.target_origin)
    n_whole = _n_whole(study)
    procedure = Procedure(study, n_whole=n_whole)
    races = piloted.end is not None and n_whole < _RACES_BELOW
    if races:
        race = EarlyRace(procedure, first_octave=piloted.octave)
        named = _raced(race, procedure, in_turn)
    else:
        named = procedure.explore()
        while in_turn is not None and _timed_in_turn(study, named, in_turn):
            named = procedure.explore()
    level = piloted.level
    return replace(
        _decided(procedure, named, raced=races),
        origin=question.target_origin if level is None else level.origin,
        hardly_learns=piloted.hardly_learns,
    )


def _take_in_first_runs(study: Study, own: CellKey) -> Reason | None:
    """Take in the pilot, or train the reference where there was none; why that tells nothing."""
    log, question = study.log, study.question
    if study.end is not None:
        for (size, rate, seed), record in log.records.items():
            study.take_in(study.at((size, rate)), seed, record)
        study.set_level()
        return None
    whole = study.whole_steps(study.own)
    if question.objective == "quality":
        request = log.request(own, 0, steps=whole, whole=True)
    else:
        affordable = log.affordable_steps(own[0], _FIRST_SHARE * question.budget_s)
        request = log.request(own, 0, steps=min(whole, affordable))
    (record,) = log.run([request], "pilot")
    _refuse_target_met_untrained(question, record)
    if record.has_failed and not record.has_diverged:
        return Reason.of("pilot_stopped", why=why_it_failed(record))
    if len(record.evaluations) <= 1 and not record.has_failed:
        return Reason.of("budget_ended_before_reference")
    if question.objective == "quality":
        study.end = end_so_far(question, record)
    if study.log.until is not None:
        study.most_cost = request.last_step * study.weight[own[0]]
    # A script's last evaluation may lie well before the end of its run.
    study.take_in(study.own, 0, record, guess=missed(request.last_step))
    return None


def _refuse_target_met_untrained(question: Question, record: TrialRecord) -> None:
    if (target := question.target) is None:
        return
    value = untrained_value(record, target.metric)
    if target.met_by(value):
        raise UsageError(
            f"target {target.metric}={target.value:g}: it is met before the first step (the "
            f"untrained model has {value:g}); give a level that takes training"
        )


def _n_whole(study: Study) -> float:
    """How many trainings of the reference the budget has room for."""
    at_once = min(_MOST_AT_ONCE, max(1, study.log.engine.n_workers))
    one = study.cells[study.own]
    whole_s = study.whole_s(study.own) / study.fraction
    if not study.compares_ends and 0 in one.records:
        whole_s = study.log.run_s(one.cell[0], one.records[0].steps)
    return study.question.budget_s * at_once / whole_s


def _timed_in_turn(study: Study, named: int, in_turn: InTurn) -> bool:
    """Time what is to be named and the reference in turn; whether that was done.

    What else ran while they were profiled may have fallen on one of the two alone.
    """
    own, size = study.question.reference.batch_size, int(study.sizes[named])
    is_open = size != own and size not in study.timed and study.question.objective == "time"
    times = in_turn(own, size) if is_open else None
    if times is None:
        return False
    before = study.options[own].step_s
    own_s, size_s, ratio_sd = timed_in_turn(before, study.options[size].step_s, times)
    moved = (own_s.estimate or 1.0) / (before.estimate or 1.0)
    # The ratios of those that were timed so before are to the reference.
    again = {other: study.options[other].step_s.times(moved) for other in study.timed}
    study.timed[size] = ratio_sd
    study.time_again(again | {own: own_s, size: size_s})
    did = Reason.of("time_in_turn", size=size, other=own)
    study.log.note(did, Reason.of("load_falls_on_both"))
    return True


def _raced(race: EarlyRace, procedure: Procedure, in_turn: InTurn | None) -> int:
    """Name what a race of single runs found, once it is timed in turn and its seeds hold."""
    study = procedure.study
    race.run()
    while True:
        named = race.soonest
        if in_turn is not None and _timed_in_turn(study, named, in_turn):
            continue
        procedure.confirm(named)
        if race.soonest == named:
            return procedure.outlook.stays(study.nameable) if named == study.own else named


def _decided(procedure: Procedure, named: int, *, raced: bool) -> Decided:
    study, outlook = procedure.study, procedure.outlook
    one = study.cells[named]
    is_own_size = study.sizes[named] == study.sizes[study.own]
    # Where nobody chose the rate, another one of the same batch size is no other answer.
    stays = named == study.own or (study.question.is_usual and bool(is_own_size))
    chance = float(outlook.chance[named])
    if raced:
        off = float(study.off_ridge([study.own])[named, 0])
        chance = _RACED_FAR if off >= _FAR_RATE else _RACED_NEAR
    n = len(one.records)
    gains, over_tuned = outlook.gain_draws(named), outlook.gain_over_tuned_draws(named)
    return Decided(
        cell=one.cell,
        chance=None if stays else chance,
        stays=stays,
        gain=estimate_of(2.0**gains, n=n),
        gain_from_batch_size=estimate_of(2.0**over_tuned, n=n),
        study=study,
        procedure=procedure,
    )
