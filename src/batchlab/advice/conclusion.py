"""Conclusion: the decision with its verification, the fastest first, until one ends no worse."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.advice.allocation import allocate
from batchlab.advice.decision import Decision
from batchlab.advice.parts import Endings
from batchlab.advice.run_log import CellKey
from batchlab.advice.study_state import StudyState
from batchlab.advice.verification import Verification
from batchlab.advice.verification_runs import reference_cell
from batchlab.advice.verify import can_be_followed, verify
from batchlab.records.reason import Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Conclusion:
    """How the study ended: with a decision and its verification, or with what stopped it.

    Attributes:
        decision: what the runs support.
        verification: what fresh seeds said.
        not_followed: the batch size that looks fastest, where its whole trainings take longer than
            the budget had left, and another one was verified.
        passed_over: how the one that looks fastest ends, where it seems to end worse, though not
            for sure, and another one was verified.
        reason: what stopped it before a decision.
    """

    decision: Decision | None = None
    verification: Verification | None = None
    not_followed: int | None = None
    passed_over: Endings | None = None
    reason: Reason | None = None

    @property
    def endings(self) -> Endings | None:
        """How whole trainings end; None: none were compared."""
        return None if self.verification is None else self.verification.endings


def concluded(state: StudyState, decision: Decision) -> Conclusion:
    """The decision with its verification: the fastest of those that were not seen to end worse.

    A batch size that ends worse is out, and the decision is made again among the others. One that
    seems to is passed over in the same way, but then it stays open which is the best. Where one
    ends no worse and it is open whether another is faster, what is left goes into that.
    """
    # What looks best may be better than the reference for sure, though not the best.
    may_be_better = state.question.objective != "samples"
    shown: Conclusion | None = None
    passed: Conclusion | None = None
    verified: dict[CellKey, Verification] = {}
    while True:
        size = decision.batch_size or (state.best() if may_be_better else None)
        if size is None:
            return shown or passed or Conclusion(decision=decision)
        faster = size
        size = _that_can_be_followed(state, faster)
        if size != faster or passed is not None:
            decision = decision.left_open()
        cell = state.cell(size)
        assert cell is not None
        if cell not in verified:  # a second look at the same seeds would be one too many
            verified[cell] = verify(state, size)
        found = Conclusion(
            decision=decision,
            verification=verified[cell],
            not_followed=None if size == faster else faster,
            passed_over=None if passed is None else passed.endings,
        )
        endings = found.endings
        if endings is None:
            return shown or passed or found
        if not (verified[cell].is_settled or endings.seems_worse):
            return shown or found
        if endings.seems_worse:
            _take_out(state, size, endings)
            if endings.verdict == "open":
                passed = passed or found
        else:
            shown = found
            if decision.verdict != "cannot_tell":
                return shown
        another = _decided_again(state, is_out=endings.seems_worse)
        if another is None:
            stopped = Reason.of("all_end_worse", why=endings.reason)
            return shown or passed or Conclusion(verification=verified[cell], reason=stopped)
        decision = another


def _take_out(state: StudyState, size: int, endings: Endings) -> None:
    """No longer compare a batch size that ends worse, or seems to."""
    state.ruled_out[size] = endings.reason
    did = Reason.of("size_is_passed_over", size=size)
    if endings.verdict == "worse":
        did = Reason.of("size_is_out", size=size)
    state.run_log.note(did, endings.reason)


def _decided_again(state: StudyState, *, is_out: bool) -> Decision | None:
    """The decision with what is left of the budget, or without the one that was taken out.

    None: no batch size is left, or nothing has come since the decision before.
    """
    n_before = len(state.run_log.records)
    another = allocate(state, for_more_seeds=False) if state.best() is not None else None
    is_new = is_out or len(state.run_log.records) > n_before
    return another if is_new else None


def _that_can_be_followed(state: StudyState, size: int) -> int:
    """The fastest whose whole trainings the budget has left for; `size` where there is none."""
    own = reference_cell(state)
    others = [s for s in state.tuned if s not in state.ruled_out and state.cell(s) != own]
    costs = {other: state.log_cost(other) for other in others}
    by_cost = sorted((cost, other) for other, cost in costs.items() if cost is not None)
    for candidate in dict.fromkeys([size, *(other for _, other in by_cost)]):
        if can_be_followed(state, candidate):
            return candidate
    return size
