"""Questions for the simulated engine, as a user would ask them."""

from collections.abc import Callable
from typing import Any

from tests.reference.simulated_engine import METRIC, N_TRAIN

from batchlab.advice.advice import Configuration, Option, Question
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.trial import Target

BATCH_SIZES = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
REFERENCE = Configuration(batch_size=64, micro_batch_size=64, learning_rate=0.01)


def knee(at: float) -> Callable[[int], float]:
    """A device whose step takes a millisecond up to a batch size, and grows with it after."""
    return lambda batch_size: 1e-3 * max(1.0, batch_size / at)


def option(batch_size: int, step_s: float, *, note: str = "") -> Option:
    """A batch size whose step time is known to 1 %."""
    return Option(
        batch_size=batch_size,
        micro_batch_size=batch_size,
        step_s=Estimate.of(step_s, interval=(0.99 * step_s, 1.01 * step_s), n=8),
        peak_bytes=100_000_000 + 1000 * batch_size,
        note=Reason.as_written(note) if note else None,
    )


def question(
    step_s: Callable[[int], float],
    *,
    budget_s: float,
    target=0.97,
    sizes=BATCH_SIZES,
    **changes: Any,
) -> Question:
    """The question of the least time to `target`; `changes` are fields of the Question."""
    given = {
        "objective": "time",
        "metric": METRIC,
        "better": "higher",
        "target": None if target is None else Target(metric=METRIC, value=target, better="higher"),
        "reference": REFERENCE,
        "options": tuple(option(size, step_s(size)) for size in sizes),
        "n_train": N_TRAIN,
        "budget_s": budget_s,
    }
    return Question(**(given | changes))
