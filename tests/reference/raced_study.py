"""A simulated study whose budget is a number of whole trainings: with few of them it races."""

from __future__ import annotations

from tests.reference.simulated_engine import N_TRAIN, SimulatedEngine, Truth
from tests.reference.simulated_question import knee, question

from batchlab.advice.advisor import advise

EPOCHS = 12.0
END = 1 - 0.03 / 1.05  # the level of the truth is 5 % of the errors below it
OWN = (64, 0.01)
STEP_S = knee(1024)
# To the level the reference takes 4.4 epochs, a batch of 1024 10.7 of the 12.
FLAT = {"s_min": 150.0, "b_crit": 400.0}


def raced(
    *,
    trainings=4.0,
    n_workers=1,
    salt=0,
    step_s=STEP_S,
    kind=SimulatedEngine,
    asked=(),
    **truth,
):
    """The advice with so many whole trainings left; `asked` are fields of the question."""
    known = Truth(**({"end": lambda size, rate: END, "end_noise": 0.0002} | FLAT | truth))
    engine = kind(truth=known, step_s=step_s, n_workers=n_workers, salt=salt)
    whole_s = EPOCHS * (N_TRAIN // 64 + 1) * step_s(64)
    given = {"target": None, "target_origin": "pilot", "longest_epochs": EPOCHS} | dict(asked)
    return advise(question(step_s, budget_s=trainings * whole_s, **given), engine), engine


def named(advice):
    return advice.provisional.batch_size, advice.provisional.learning_rate
