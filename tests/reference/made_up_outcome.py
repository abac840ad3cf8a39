"""A made-up state of two valued batch sizes, and the decision between them."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.reference.made_up_state import made_up_state, met, scored

from batchlab.advice.advice import EndLevel, HeadToHead
from batchlab.advice.decision import Decision
from batchlab.advice.study_state import StudyState
from batchlab.advice.verification import Verification
from batchlab.records.estimate import Estimate, Reason

# A plateau of accuracy 0.978 after 16 epochs.
END = EndLevel(value=0.978, n=9, ended_by="plateau", margin=0.0011, epochs=16.0, learning_rate=0.01)
WHY = Reason.as_written("a test says so")
SIZES = (64, 128, 256)
STEPS = {64: (1000, 1010, 1020), 128: (500, 505, 510)}
STEP_S = 2e-3


def state_of(
    steps: Mapping[int, Sequence[int]] = STEPS,
    *,
    sizes: Sequence[int] = SIZES,
    step_s: Callable[[int], float] = lambda size: STEP_S,
    **changes: Any,
) -> StudyState:
    """Valuation runs that met the target in these steps, by batch size."""
    runs = {size: list(map(met, each)) for size, each in steps.items()}
    return made_up_state(runs, sizes=sizes, step_s=step_s, **changes)


def quality_state(**changes: Any) -> StudyState:
    """Whole runs for objective quality, 128 a fifth nearer to perfect than 64."""
    runs = {64: [scored(0.95), scored(0.95)], 128: [scored(0.96), scored(0.96)]}
    asked: dict[str, Any] = {"objective": "quality", "longest_epochs": 5} | changes
    return made_up_state(runs, sizes=SIZES, step_s=lambda size: STEP_S, **asked)


def decision(**changes: Any) -> Decision:
    """128 is twice as good as 64."""
    given: dict[str, Any] = {
        "batch_sizes": (64, 128),
        "relative": (2.0, 1.0),
        "low": (1.9, 1.0),
        "high": (2.1, 1.02),
        "inside": (False, True),
        "verdict": "recommend",
        "batch_size": 128,
        "contender": 128,
        "blocking": 64,
    }
    return Decision(**(given | changes))


def verification(**changes: Any) -> Verification:
    """Three fresh seeds, on which 128 took 400 steps and was 3 times as good as the reference."""
    given: dict[str, Any] = {
        "batch_size": 128,
        "head_to_head": HeadToHead(
            seeds=(80, 81, 82),
            recommended=(0.8, 0.8, 0.8),
            reference=(2.4, 2.4, 2.4),
            reference_tuned=(2.0, 2.0, 2.0),
        ),
        "log_learning_cost": math.log(400),
        "half_width": 0.1,
        "n": 3,
        "missed": 0,
        "gain": Estimate.of(3.0, interval=(2.5, 3.5), n=3),
        "gain_from_batch_size": Estimate.of(2.5, interval=(2.0, 3.0), n=3),
    }
    return Verification(**(given | changes))
