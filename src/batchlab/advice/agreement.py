"""Agreement: whether fresh seeds bear out what the recommendation promised.

No answer may stand against its own verification: where they speak against it, more of them are
asked, and if they still do the verdict falls.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from scipy.special import stdtrit

from batchlab.advice.run_log import CellKey
from batchlab.advice.scatter import scatter_of_fresh_seeds
from batchlab.advice.study_state import StudyState
from batchlab.records.estimate import Estimate
from batchlab.records.reason import Reason

# Slower than promised by more than chance explains, one time in a hundred.
_LEVEL = 0.99


@dataclass(frozen=True, kw_only=True, slots=True)
class Objection:
    """What fresh seeds say against a recommendation.

    Attributes:
        why: in words.
        instead: the configuration that was better on them; None: it is not about another one.
    """

    why: Reason
    instead: CellKey | None = None


def disagreement(
    state: StudyState,
    cell: CellKey,
    log_costs: Sequence[float],
    *,
    missed: int,
    gains: Mapping[CellKey, Estimate],
    lost_to: Collection[CellKey],
) -> Objection | None:
    """What the fresh seeds say against the recommendation; None: nothing.

    Args:
        state: the runs.
        cell: batch size and rate of the recommendation.
        log_costs: its log learning costs on fresh seeds, of those that have one.
        missed: how many of its fresh seeds missed the target or failed.
        gains: how many times better it is than the reference, as it is and tuned.
        lost_to: of these, the ones that were better on every seed.
    """
    size, n = cell[0], len(log_costs) + missed
    if missed and 2 * missed >= n:
        return Objection(why=Reason.of("missed_on_fresh_seeds", size=size, missed=missed, n=n))
    times = _times_slower(state, cell, log_costs)
    if times is not None:
        return Objection(why=Reason.of("slower_on_fresh_seeds", size=size, times=times, n=n))
    for other, gain in gains.items():
        if other != cell and _is_worse(gain, state.question.delta, always=other in lost_to):
            why = Reason.of(
                "reference_was_better", size=size, other=other[0], rate=other[1], n=gain.n
            )
            return Objection(why=why, instead=other)
    return None


def _is_worse(gain: Estimate, delta: float, *, always: bool) -> bool:
    """For sure, or on every seed and by more than delta in the mean."""
    if gain.high is not None and gain.high < 1:
        return True
    return always and gain.estimate is not None and gain.estimate * (1 + delta) < 1


def _times_slower(state: StudyState, cell: CellKey, log_costs: Sequence[float]) -> float | None:
    """How many times as much it took as its valuations, where chance and delta don't explain it."""
    promised = state.learning_costs(cell[0])
    if not log_costs or not promised:
        return None
    seen = sum(log_costs) / len(log_costs)
    more = seen - sum(map(math.log, promised)) / len(promised)
    sd, degrees = scatter_of_fresh_seeds(state.run_log, purposes_apart=True)
    error = sd * math.sqrt(1 / len(log_costs) + 1 / len(promised))
    by_chance = float(stdtrit(degrees, _LEVEL)) * error
    return math.exp(more) if more > max(by_chance, math.log1p(state.question.delta)) else None
