"""TrialValues: what the placeholders of a command stand for in one training."""

from __future__ import annotations

import math

from batchlab.launching.placeholders import Value
from batchlab.records.trial import Trial


def trial_values(trial: Trial, *, last_step: int) -> dict[str, Value | None]:
    """The values of one training, but for its folders.

    Where the trial has a horizon, the script is told that length: its rate may follow it. The
    training is ended where it has gone far enough.

    Args:
        trial: what is trained.
        last_step: at which the run ends at the latest.
    """
    steps = trial.horizon_steps or last_step
    return {
        "batch_size": trial.batch_size,
        "micro_batch_size": trial.micro_batch_size,
        "accumulation_steps": -(-trial.batch_size // trial.micro_batch_size),
        "learning_rate": trial.learning_rate,
        "seed": trial.seed,
        "steps": steps,
        "epochs": max(1, math.ceil(trial.plan.epoch_at(steps))),
        "resume_from": None,
    }
