"""Conclusion: the decision with its verification, the fastest first, until one ends no worse."""

from __future__ import annotations

from dataclasses import dataclass, replace

from batchlab.advice.advice import Endings
from batchlab.advice.allocation import allocate, decision_of
from batchlab.advice.decision import Decision, costs_of
from batchlab.advice.run_log import CellKey
from batchlab.advice.study_state import StudyState
from batchlab.advice.verification import Verification, n_seeds_left, verify
from batchlab.records.estimate import Estimate, Reason

# With fewer seeds nothing can be shown of how trainings end.
_FEWEST_FOLLOWED = 2


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
        raced: the configuration that won a race of single runs, where the budget had too few
            trainings for more.
        soonest: the one that was soonest in it; `raced` has a lower rate where its own is likely to
            be too high for the end.
        gain: how many times as long the reference takes as `raced`, by single runs; None: it was
            not run to the target, or there was no race.
        reason: what stopped it before a decision.
    """

    decision: Decision | None = None
    verification: Verification | None = None
    not_followed: int | None = None
    passed_over: Endings | None = None
    raced: CellKey | None = None
    soonest: CellKey | None = None
    gain: Estimate | None = None
    reason: Reason | None = None

    @property
    def is_fastest(self) -> bool:
        """Whether nothing that looked faster is still open."""
        return self.not_followed is None and self.passed_over is None

    @property
    def is_cooled(self) -> bool:
        """Whether it takes a cool-down: how long that is was compared with the references alone."""
        return self.endings is not None and self.endings.recommended.cool_down > 0

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
    in_turn = _InTurn(state)
    found = in_turn.looked_at_again(in_turn.followed(decision))
    if found.decision is None or (found.is_fastest and not found.is_cooled):
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
            size = decision.batch_size or (state.best() if may_be_better else None)
            if size is None:
                # Nothing is to be verified: what was kept for that goes into the decision.
                decision = allocate(state, keeps_nothing=True) or decision
                size = decision.batch_size
            if size is None:
                return self._best_known() or Conclusion(decision=decision)
            found, verified = self._verify(decision, size)
            endings = verified.endings
            if endings is None:
                return self._best_known() or found
            if not (verified.is_settled or endings.gives_way):
                return self._shown or found
            if endings.gives_way:
                take_out(state, endings)
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
        size = before.batch_size
        if n_seeds_left(state, size) <= len(before.endings.seeds):
            return found
        again = verify(state, size, may_stop=False)
        if again.endings is None:
            return found
        if again.endings.is_likely_worse:
            take_out(state, again.endings)
        else:
            del state.ruled_out[size]
        if again.endings.verdict == "no_worse":
            return replace(first, verification=again, decision=_decided_now(state, first))
        if found is first:
            return replace(first, verification=again)
        if again.endings.verdict == "open":
            return replace(found, passed_over=again.endings)
        return replace(found, passed_over=others[0].endings if others else None)

    def _verify(self, decision: Decision, size: int) -> tuple[Conclusion, Verification]:
        """What fresh seeds say of a batch size, or of the next fastest, if it is too dear."""
        state = self._state
        faster = size
        size = _that_can_be_followed(state, faster)
        cell = state.cell(size)
        assert cell is not None
        if cell not in self._verified:  # a second look at the same seeds would be one too many
            self._verified[cell] = verify(state, size)
        found = Conclusion(
            decision=decision,
            verification=self._verified[cell],
            not_followed=None if size == faster else faster,
            passed_over=self._passed[0].endings if self._passed else None,
        )
        return found, self._verified[cell]

    def _best_known(self) -> Conclusion | None:
        return self._shown or (self._passed[0] if self._passed else None)


def take_out(state: StudyState, endings: Endings) -> None:
    """No longer compare a batch size that ends worse, or seems to."""
    size = endings.recommended.batch_size
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


def _decided_now(state: StudyState, before: Conclusion) -> Decision | None:
    """The decision with the runs that came since; left open where it is for another one by now."""
    costs, verification = costs_of(state), before.verification
    if costs is None or verification is None:
        return before.decision
    decision = decision_of(state, costs)
    return decision if decision.batch_size == verification.batch_size else decision.left_open()


def _that_can_be_followed(state: StudyState, size: int) -> int:
    """The fastest whose whole trainings the budget has left for; `size` where there is none."""
    if state.end is None:
        return size
    own = state.reference_cell
    others = [s for s in state.tuned if s not in state.ruled_out and state.cell(s) != own]
    costs = {other: state.log_cost(other) for other in others}
    by_cost = sorted((cost, other) for other, cost in costs.items() if cost is not None)
    for candidate in dict.fromkeys([size, *(other for _, other in by_cost)]):
        if n_seeds_left(state, candidate) >= _FEWEST_FOLLOWED:
            return candidate
    return size
