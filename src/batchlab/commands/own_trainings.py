"""Trainings of the user's own configuration: a budget of so many, and what such answers are worth.

How long a training takes is known once a step is timed: roughly by a first look, before anything
else is measured, then by the profile, which is stored, so that a study goes on with the same.
"""

from __future__ import annotations

import math
from dataclasses import replace

from batchlab.advice.advice import Advice
from batchlab.advice.worth import worth_of
from batchlab.commands.advice_request import AdviceRequest
from batchlab.commands.budget import Budget
from batchlab.commands.subject import Subject
from batchlab.errors import BudgetError
from batchlab.profiling.profile import Profile
from batchlab.records.reason import Reason

_FIRST_LOOK_S = 60.0
# What goes before the runs and after them, of the whole.
_MOST_FOR_THE_REST = 0.5


def limit_by_a_first_look(budget: Budget, asked: AdviceRequest, subject: Subject) -> None:
    """Set the ceiling to the trainings asked for, where they were, as far as a first look tells.

    Args:
        budget: has no ceiling yet.
        asked: the question.
        subject: whose steps are timed.

    Raises:
        BudgetError: most of so many trainings is gone, or kept for the report.
    """
    if asked.trainings is None:
        return
    timed_s = math.nan  # seconds of training need none
    if asked.train_s is None:
        first = subject.timed(asked.trial, timeout_s=_FIRST_LOOK_S)
        if first.value is None:
            return  # the profile says why
        timed_s = first.value.step_s
    limit_to_trainings(budget, asked, timed_s, batch_size=asked.trial.batch_size)
    assert budget.seconds is not None
    rest_s = budget.seconds - budget.time_limit_s()
    if rest_s > _MOST_FOR_THE_REST * budget.seconds:
        least = asked.trainings * rest_s / (_MOST_FOR_THE_REST * budget.seconds)
        raise BudgetError(
            f"{asked.trainings:g} trainings take {budget.seconds:.3g} s here, and starting, timing "
            f"and the report alone {rest_s:.3g} s; give --trainings {math.ceil(least)} or more, "
            f"or a time with --budget"
        )


def limit_to_trainings(
    budget: Budget, asked: AdviceRequest, timed_s: float, *, batch_size: int
) -> None:
    """Set the ceiling to the trainings asked for, where they were.

    Args:
        budget: of the call.
        asked: the question.
        timed_s: seconds per step.
        batch_size: the reference's.
    """
    if asked.trainings is not None:
        one_s = training_s(asked, timed_s, batch_size=batch_size)
        budget.limit(asked.trainings * one_s)


def training_s(asked: AdviceRequest, timed_s: float, *, batch_size: int) -> float:
    """Seconds of one planned training, without its evaluations.

    Args:
        asked: with the epochs or the seconds that a training is planned to take.
        timed_s: seconds per step.
        batch_size: the reference's.
    """
    if asked.train_s is not None:
        return asked.train_s
    assert asked.epochs is not None
    trial = replace(asked.trial, batch_size=batch_size, micro_batch_size=batch_size)
    return trial.plan.steps_in(asked.epochs) * timed_s


def worth_in_trainings(
    asked: AdviceRequest, here: Profile, advice: Advice, *, start_s: float
) -> Reason | None:
    """What answers with so many trainings were worth where the best is known.

    Args:
        asked: the question as it was asked.
        here: the profile of this machine.
        advice: as the advisor gave it: its budget is what runs have, profile and report aside.
        start_s: seconds that each training takes before its first step.

    Returns:
        None: nothing is named, nothing like it was asked there, or how long a training takes was
        not seen.
    """
    named = advice.named
    if asked.objective != "time" or asked.target or asked.elsewhere or named is None:
        return None
    size = advice.reference.batch_size
    if asked.epochs is not None:
        one_s = training_s(asked, here.about_step_s(size), batch_size=size)
    else:
        pilots = [run.steps for run in advice.tried if run.purpose == "pilot"]
        if advice.target_origin != "pilot" or not pilots:
            return None
        one_s = max(pilots) * here.about_step_s(size)
    # The record's answers had all of their budget for runs.
    for_runs_s = advice.budget_s - (advice.steps[0].spent_s if advice.steps else 0.0)
    return worth_of(
        for_runs_s / (start_s + one_s), is_recommended=advice.recommendation is not None
    )
