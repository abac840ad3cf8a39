"""Trainings of the user's own configuration: how long one takes, and what so many are worth."""

from __future__ import annotations

import math
from dataclasses import replace

from batchlab.advice.advice import Advice
from batchlab.advice.worth import worth_of
from batchlab.commands.advice_request import AdviceRequest
from batchlab.profiling.profile import Profile
from batchlab.records.reason import Reason


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


def worth_in_trainings(asked: AdviceRequest, here: Profile, advice: Advice) -> Reason | None:
    """What answers with so many trainings were worth where the best is known.

    Returns:
        None: nothing is named, nothing like it was asked there, or how long a training takes was
        not seen.
    """
    named = advice.recommendation or advice.provisional
    if asked.objective != "time" or asked.target or asked.elsewhere or named is None:
        return None
    size = advice.reference.batch_size
    if asked.epochs is not None:
        one_s = training_s(asked, step_s(size, here), batch_size=size)
    else:
        pilots = [run.steps for run in advice.tried if run.purpose == "pilot"]
        if advice.target_origin != "pilot" or not pilots:
            return None
        one_s = max(pilots) * step_s(size, here)
    return worth_of(advice.budget_s / one_s, is_recommended=advice.recommendation is not None)


def step_s(batch_size: int, here: Profile) -> float:
    """Seconds per step on this machine; beyond what was measured in proportion to the size."""
    known = here.step_s(batch_size).estimate
    if known is not None:
        return known
    ran = [point for point in here.points if point.ran and point.timing is not None]
    nearest = min(ran, key=lambda point: abs(math.log(point.batch_size / batch_size)))
    assert nearest.timing is not None
    return nearest.timing.step_s * max(1.0, batch_size / nearest.batch_size)
