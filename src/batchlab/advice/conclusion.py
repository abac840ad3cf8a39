"""Conclusion: the decision with its verification, the fastest first, until one ends no worse."""

from __future__ import annotations

from dataclasses import replace

from batchlab.advice.allocation import allocate, decision_of
from batchlab.advice.decision import Decision, costs_of
from batchlab.advice.run_log import CellKey
from batchlab.advice.study_state import Size, StudyState
from batchlab.advice.verification import Conclusion, Verification, n_seeds_left, verify
from batchlab.records.estimate import Reason

# With fewer seeds nothing can be shown of how trainings end.
_FEWEST_FOLLOWED = 2


def concluded(state: StudyState, decision: Decision) -> Conclusion:
    """The decision with its verification: the fastest of those that were not seen to end worse.

    A batch size that ends worse is out, and the decision is made again among the others. One that
    seems to is passed over in the same way, but then it stays open which is the best. Where one
    ends no worse and it is open whether another is faster, what is left goes into that.
    """
    in_turn = _InTurn(state)
    found = in_turn.looked_at_again(in_turn.followed(decision))
    if found.decision is None or found.is_fastest:
        return found
    return replace(found, decision=found.decision.left_open())


class _InTurn:
    """One batch size after the other is verified, the fastest first.

    `shown` ends no worse; `passed` are those that seem to end worse, the fastest first.
    """

    def __init__(self, state: StudyState) -> None:
        self._state = state
        self._shown: Conclusion | None = None
        self._passed: list[Conclusion] = []
        self._verified: dict[CellKey, Verification] = {}

    def followed(self, decision: Decision) -> Conclusion:
        """The first that ends no worse, or else what is known of the fastest that seems worse."""
        state = self._state
        # What looks best may be better than the reference for sure, though not the best.
        may_be_better = state.question.objective != "samples"
        while True:
            size = self._decided(decision) or (state.best if may_be_better else None)
            if size is not None and state.time_in_turn(size):
                costs = costs_of(state)
                decision = decision if costs is None else decision_of(state, costs)
                continue
            if size is None:
                # Nothing is to be verified: what was kept for that goes into the decision.
                decision = allocate(state, keeps_nothing=True) or decision
                size = self._decided(decision)
            if size is None:
                return self._best_known() or Conclusion(decision=decision)
            found, verified = self._verify(decision, size)
            endings = verified.endings
            if endings is None:
                return self._best_known() or found
            if not (verified.is_settled or endings.gives_way):
                return self._shown or found
            if endings.gives_way:
                state.take_out(endings)
                if endings.verdict == "open":
                    self._passed.append(found)
            else:
                self._shown = found
                if found.is_fastest and decision.verdict != "cannot_tell":
                    return found
            another = _decided_again(state, is_out=endings.gives_way)
            if another is None:
                stopped = Reason.of("all_end_worse", why=endings.reason)
                return self._best_known() or Conclusion(verification=verified, reason=stopped)
            decision = another

    def looked_at_again(self, found: Conclusion) -> Conclusion:
        """What was passed over on its first seeds gets the others, if the budget has left for them.

        Only the fastest: what follows it would be the next, and needs no more.
        """
        state = self._state
        if not self._passed:
            return found
        first, *others = self._passed
        before = first.verification
        if before is None or before.endings is None or not before.is_cut:
            return found
        size = state.sizes[before.batch_size]
        if n_seeds_left(state, size) <= len(before.endings.seeds):
            return found
        again = verify(state, size, may_stop=False)
        if again.endings is None:
            return found
        if again.endings.is_likely_worse():
            state.take_out(again.endings)
        else:
            size.ruled_out = None
        if again.endings.verdict == "no_worse":
            return replace(first, verification=again, decision=_decided_now(state, first))
        if found is first:
            return replace(first, verification=again)
        if again.endings.verdict == "open":
            return replace(found, passed_over=again.endings)
        return replace(found, passed_over=others[0].endings if others else None)

    def _decided(self, decision: Decision) -> Size | None:
        return None if decision.batch_size is None else self._state.sizes[decision.batch_size]

    def _verify(self, decision: Decision, faster: Size) -> tuple[Conclusion, Verification]:
        """What fresh seeds say of a batch size, or of the next fastest, if it is too dear."""
        state = self._state
        size = _that_can_be_followed(state, faster)
        cell = size.cell
        assert cell is not None
        if cell not in self._verified:  # a second look at the same seeds would be one too many
            self._verified[cell] = verify(state, size)
        found = Conclusion(
            decision=decision,
            verification=self._verified[cell],
            not_followed=None if size is faster else faster.batch_size,
            passed_over=self._passed[0].endings if self._passed else None,
        )
        return found, self._verified[cell]

    def _best_known(self) -> Conclusion | None:
        return self._shown or (self._passed[0] if self._passed else None)


def _decided_again(state: StudyState, *, is_out: bool) -> Decision | None:
    """The decision with what is left of the budget, or without the one that was taken out.

    None: no batch size is left, or nothing has come since the decision before.
    """
    n_before = len(state.records)
    another = allocate(state, for_more_seeds=False) if state.best is not None else None
    is_new = is_out or len(state.records) > n_before
    return another if is_new else None


def _decided_now(state: StudyState, before: Conclusion) -> Decision | None:
    """The decision with the runs that came since; left open where it is for another one by now."""
    costs, verification = costs_of(state), before.verification
    if costs is None or verification is None:
        return before.decision
    decision = decision_of(state, costs)
    return decision if decision.batch_size == verification.batch_size else decision.left_open()


def _that_can_be_followed(state: StudyState, size: Size) -> Size:
    """The fastest whose whole trainings the budget has left for; `size` where there is none."""
    if state.end is None:
        return size
    others = [s for s in state.tuned if s.ruled_out is None and s.cell != state.reference_cell]
    costs = [(other.log_cost, other.batch_size) for other in others]
    by_cost = sorted((cost, other) for cost, other in costs if cost is not None)
    for candidate in dict.fromkeys([size, *(state.sizes[other] for _, other in by_cost)]):
        if n_seeds_left(state, candidate) >= _FEWEST_FOLLOWED:
            return candidate
    return size
