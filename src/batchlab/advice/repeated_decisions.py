"""Repeated decisions: the decision at an easier and a harder target, from the same runs."""

from __future__ import annotations

from typing import Literal

from batchlab.advice.allocation import decision_of
from batchlab.advice.costs import costs_of
from batchlab.advice.decision import Decision
from batchlab.advice.other_targets import near_the_best, other_targets
from batchlab.advice.parts import TargetAnswer
from batchlab.advice.study_state import StudyState
from batchlab.records.reason import Reason
from batchlab.records.target import Target


def repeated_decisions(state: StudyState, decision: Decision) -> tuple[TargetAnswer, ...]:
    """What the runs say at the easier and at the harder target; none where there are no such.

    Args:
        state: the runs.
        decision: the one at the study's own target.
    """
    pair = other_targets(state)
    if pair is None:
        return ()
    easier, harder = pair
    followed = _all_reach(state, decision, harder)
    return (_at(state, easier, "easier"), _at(state, harder, "harder", followed=followed))


def is_another(other: TargetAnswer, decision: Decision | None) -> bool:
    """Whether what `other` recommends is not in the flat set of `decision`."""
    if other.batch_size is None or decision is None or not decision.flat_set:
        return False
    return other.batch_size not in decision.flat_set


def _at(
    state: StudyState, target: Target, which: Literal["easier", "harder"], *, followed: bool = True
) -> TargetAnswer:
    """The answer at `target`; `followed`: whether the runs went far enough for one."""
    costs = costs_of(state, target=target) if followed else None
    decision = None if costs is None else decision_of(state, costs)
    reason = Reason.of("same_runs_decide")
    if decision is None:
        reason = Reason.of("runs_not_followed")
    elif decision.verdict == "cannot_tell":
        reason = Reason.of("same_runs_leave_open")
    return TargetAnswer(
        target=target,
        which=which,
        verdict="cannot_tell" if decision is None else decision.verdict,
        reason=reason,
        batch_size=None if decision is None else decision.batch_size,
        flat_set=() if decision is None or decision.batch_size is None else decision.flat_set,
    )


def _all_reach(state: StudyState, decision: Decision, target: Target) -> bool:
    """Whether every run near the best was followed to this target."""
    return all(
        record.crossing(target) is not None
        for size in near_the_best(decision)
        for record in state.valuation_runs(size).values()
    )
