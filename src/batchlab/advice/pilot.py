"""Pilot: train the user's own configuration to its end; the final value sets the target."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from batchlab.advice.advice import Question
from batchlab.advice.level import EndLevel, Pilots, ends_early, level_of_ends
from batchlab.advice.run_log import CellKey, RunLog, why_it_failed
from batchlab.records.estimate import Reason
from batchlab.records.run import OUT_OF_TIME
from batchlab.records.trial import TrialRecord

# The fraction of the budget that a pilot may take. If this cuts the pilot before its planned end,
# the value at the cut sets the target.
_SHARE = 0.5
# After this fraction of the pilot's steps, its limit is computed again from measured costs.
_FIRST_PART = 1 / 8
# Pairs of learning rates for pilots, in octaves above the reference rate. If a pair diverges or
# learns nothing, try the next pair, because the reference rate may be far too low or too high.
_OCTAVES = ((0, 2), (-4, -6), (5, 7), (-10, -12), (10, 12))


def run_pilot(
    log: RunLog, with_all_options: Callable[[], Question] | None = None
) -> EndLevel | Reason:
    """Train the reference configuration, for at most half of the budget, to set the target.

    With more than one worker, a higher rate is trained at the same time, as a first step of tuning
    the rate.

    Args:
        log: requests the runs.
        with_all_options: profiles all batch sizes and returns the question with all options; called
            after the first part of the pilot, while nothing runs.

    Returns:
        The final value that sets the target, or the reason why no target could be set.
    """
    reference, question = log.question.reference, log.question
    size, limit = reference.batch_size, _limit(log)
    epochs = log.plan(size).epoch_at(limit)
    log.note(Reason.of("pilot", epochs=epochs), Reason.of("pilot_sets_target"))
    any_rate = log.engine.learning_rates(size) is None
    records: list[TrialRecord] = []
    todo = list(_OCTAVES) if any_rate else [(0,)]
    while todo:
        rates = [reference.learning_rate * math.exp2(octave) for octave in todo.pop(0)]
        records += _until_its_end(log, rates[: log.engine.n_workers], limit, with_all_options)
        with_all_options = None
        reference_run = records[0]
        if reference_run.has_failed and not reference_run.has_diverged:
            return Reason.of("own_fails", why=why_it_failed(reference_run))
        pilots = Pilots(question, records, planned_steps=log.planned_steps(size))
        if pilots.is_open:
            # The rates that ran look too low, so try the higher rates of `todo` first.
            todo.sort(key=lambda octaves: octaves[0] < 0)
        if log.run_s(size, records[-1].steps) > log.left_s():
            todo = []
        end = pilots.end
        has_higher = any(octaves[0] > 0 for octaves in todo)
        if end is not None and not (pilots.is_open and has_higher):
            log.until = target = level_of_ends(question, end, [end.value])
            did = Reason.of("target_set", metric=target.metric, value=target.value)
            log.note(did, end.why)
            log.hardly_learns = pilots.hardly_learns
            return end
        if todo:
            why = Reason.of("nothing_learned_at", rate=rates[0])
            log.note(Reason.of("pilot_at_other_rates"), why)
    tried, steps = [record.trial.learning_rate for record in records], reference_run.steps
    reason = Reason.of("no_pilot_learned", steps=steps, low=min(tried), high=max(tried))
    if all(record.has_failed for record in records):
        reason = Reason.of("every_pilot_failed", why=why_it_failed(reference_run))
    elif reference_run.reason == OUT_OF_TIME:
        reason = Reason.of("budget_ended_before_reference")
    return reason


def _limit(log: RunLog) -> int:
    """Return the most steps of a pilot: as planned, or fewer if half the budget ends first."""
    size = log.question.reference.batch_size
    affordable = log.affordable_steps(size, _SHARE * log.question.budget_s)
    return min(log.planned_steps(size), affordable)


def _until_its_end(
    log: RunLog,
    rates: Sequence[float],
    limit: int,
    with_all_options: Callable[[], Question] | None,
) -> list[TrialRecord]:
    """Train at each rate, doubling the steps until the first rate's run ends or reaches `limit`."""
    question, size = log.question, log.question.reference.batch_size
    looked_from, longest = log.plan(size).steps_in(4), log.planned_steps(size)
    # Request a whole training at once if its end is planned and runs can't resume.
    is_one_piece = question.planned_epochs is not None and not log.engine.resumes
    # Start with few steps, because the limit depends on the costs of evaluations and of steps
    # in parallel runs, which are known only after a run.
    steps = min(looked_from, math.ceil(_FIRST_PART * limit))
    while True:
        limit = min(limit, _limit(log))
        steps = min(steps, limit)
        is_planned_end = steps >= longest or (is_one_piece and steps >= limit)
        records = _trained(log, rates, steps, whole=is_planned_end)
        if with_all_options is not None:
            log.question, with_all_options = with_all_options(), None
        if is_planned_end or records[0].has_failed:
            return records
        if steps >= looked_from and ends_early(question, records[0]):
            return _trained(log, rates, steps, whole=True)
        if steps >= limit:
            return records
        steps = max(looked_from, 2 * steps)
        if is_one_piece:
            steps = limit


def _trained(log: RunLog, rates: Sequence[float], steps: int, *, whole: bool) -> list[TrialRecord]:
    """Train `steps` steps at each rate; whole trainings are also evaluated on test data."""
    requests = []
    for rate in rates:
        cell = CellKey(log.question.reference.batch_size, rate)
        # Request few evaluations in the first epoch, where they would decide nothing.
        n_train = log.question.n_train
        request = log.request(cell, 0, steps=steps, whole=whole, watched_from_samples=n_train)
        requests.append(request)
    return log.run(requests, "pilot")
