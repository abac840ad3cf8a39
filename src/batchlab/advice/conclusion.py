"""Conclusion: the decision with its verification, the fastest first, until one ends no worse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from batchlab.advice.advice import Endings
from batchlab.advice.allocation import allocate, decision_of
from batchlab.advice.decision import Decision, costs_of
from batchlab.advice.run_log import CellKey
from batchlab.advice.study_state import StudyState, compare_over_whole_trainings
from batchlab.advice.verification import (
    FOLLOW,
    FOLLOW_SHORTLY,
    N_SEEDS,
    Verification,
    compared_with,
    cooled,
    fastest_other,
    nothing_verified,
    read,
    reference_cell,
    requests_of,
    seeds_that_fit,
    seeds_to_tell,
    with_cool_down,
)
from batchlab.records.estimate import Estimate, Reason

# Once begun, the others may take so much more than what is left: none is lost for a hair.
_SLACK = 1.1
_WHY_FRESH = Reason.of("chosen_runs_flatter")


def n_seeds_left(state: StudyState, batch_size: int) -> int:
    """On how many seeds the budget can follow it to the end, beside the references.

    What takes many epochs to the level needs references that are trained for as many.
    """
    state.run_log.reserved_s = 0.0
    cells = compared_with(state, batch_size)
    compare_over_whole_trainings(state, cells)
    return len(seeds_that_fit(state, cells, state.seeds.verify[: 2 * N_SEEDS]))


def verify(state: StudyState, batch_size: int, *, may_stop: bool = True) -> Verification:
    """Run the recommendation, the reference and the tuned reference on fresh seeds, paired.

    Where those speak against the recommendation, or one missed the target, further seeds are asked.

    Args:
        state: the runs.
        batch_size: the one to verify, tuned.
        may_stop: where the budget is short and another may be verified instead, its first seeds
            may be all.
    """
    state.run_log.reserved_s = 0.0
    chosen = state.cell(batch_size)
    assert chosen is not None
    cells = compared_with(state, batch_size)
    if state.end is not None:
        compare_over_whole_trainings(state, cells)
    n_looks = _n_looks(state, cells)
    # Looked at once, all seeds that the budget has are looked at.
    seeds = state.seeds.verify[: N_SEEDS if n_looks == 2 else 2 * N_SEEDS - 1]
    fitting = seeds_that_fit(state, cells, seeds)
    if may_stop and _may_give_way(state, cells):
        first = _run_in_turn(state, cells, fitting)
    else:
        first = _run(state, cells, fitting, why=_WHY_FRESH)
    if not first:
        cells = list(dict.fromkeys([chosen, _beside(state, chosen)]))
        fitting = seeds_that_fit(state, cells, seeds, FOLLOW_SHORTLY)
        first = _run(state, cells, fitting, why=_WHY_FRESH, follow=FOLLOW_SHORTLY)
    if not first:
        return nothing_verified(batch_size)
    found = read(state, first, chosen, n_looks=n_looks)
    seems_worse = found.endings is not None and found.endings.seems_worse
    if seems_worse and len(first) < len(fitting):
        return found.stopped_early()
    found = _cooled(state, found)
    if found.is_settled or n_looks == 1:
        return found
    fresh = [seed for seed in state.seeds.verify if seed not in first]
    fitting = seeds_that_fit(state, cells, tuple(fresh[: _n_further(found)]))
    further = _run(state, cells, fitting, why=_why_further(found))
    found = read(state, (*first, *further), chosen, n_looks=n_looks)
    return found if seems_worse else _cooled(state, found)


def _may_give_way(state: StudyState, cells: Sequence[CellKey]) -> bool:
    """Whether another batch size could use what its later seeds cost: the budget has few of them.

    By the seconds, not by the seeds that there are: with more of these it could follow both.
    """
    size, reference = cells[0][0], state.question.reference.batch_size
    if state.end is None or size == reference or fastest_other(state, size) is None:
        return False
    seeds = state.seeds.verify[: 2 * N_SEEDS]
    all_s = state.expected_s(requests_of(state, cells, seeds)) * 2 * N_SEEDS / len(seeds)
    return all_s > state.run_log.left_s()


def _run_in_turn(
    state: StudyState, cells: Sequence[CellKey], seeds: tuple[int, ...]
) -> tuple[int, ...]:
    """Run seed after seed until it seems to end worse; the seeds that were run.

    What the others would cost is kept for the next fastest. To stop early lets nothing pass that
    would not: "no worse" is read off all seeds or not at all.
    """
    # As many at once as there are cores for.
    at_once = max(1, state.run_log.engine.n_workers // len(cells))
    done: tuple[int, ...] = ()
    why = _WHY_FRESH
    slack = 1.0
    while todo := seeds_that_fit(state, cells, seeds[len(done) :], share=slack):
        now, later = todo[:at_once], todo[at_once : max(at_once, N_SEEDS - len(done))]
        all_s, *parts_s = (
            state.expected_s(requests_of(state, cells, some)) for some in (todo, now, later) if some
        )
        if sum(parts_s) > max(all_s, slack * state.run_log.left_s()):
            now = todo  # one after the other, the third would not fit
        slack = _SLACK
        done += _run(state, cells, now, why=why)
        if len(done) < len(seeds):
            ends = read(state, done, cells[0], n_looks=1).endings
            if ends is not None and ends.seems_worse:
                break
        why = Reason.of("not_seen_to_end_worse", size=cells[0][0], n=len(done))
    return done


def _cooled(state: StudyState, found: Verification) -> Verification:
    """With the ends under a cool-down, where the trainings end worse and it mends that."""
    if found.endings is None or not found.endings.seems_worse:
        return found
    endings = with_cool_down(state, found.endings)
    if endings.at_constant_rate is None:
        return replace(found, endings=endings)
    return cooled(state, found, endings)


def _beside(state: StudyState, chosen: CellKey) -> CellKey:
    """The one of the references to compare with, where the budget does not reach for both.

    The tuned one ends better as a rule.
    """
    tuned = state.cell(state.question.reference.batch_size)
    if state.end is None or tuned is None or tuned == chosen:
        return reference_cell(state)
    return tuned


def _n_looks(state: StudyState, cells: Sequence[CellKey]) -> int:
    """How often the whole trainings may be looked at: fixed by the budget, before any of them."""
    if state.end is None:
        return 2
    both = state.seeds.verify[: 2 * N_SEEDS]
    return 2 if len(seeds_that_fit(state, cells, both)) == 2 * N_SEEDS else 1


def _n_further(found: Verification) -> int:
    """How many more seeds are worth asking."""
    if found.endings is None or found.endings.verdict != "open":
        return N_SEEDS
    needed = seeds_to_tell(found.endings)
    return N_SEEDS if needed is None else max(N_SEEDS, needed - len(found.endings.seeds))


def _why_further(found: Verification) -> Reason:
    if found.against is not None:
        return found.against.why
    if found.missed or found.endings is None:
        return Reason.of("missed_on_a_fresh_seed", size=found.batch_size)
    return found.endings.reason


def _run(
    state: StudyState,
    cells: Sequence[CellKey],
    seeds: tuple[int, ...],
    *,
    why: Reason,
    follow: float = FOLLOW,
) -> tuple[int, ...]:
    """Run the cells on these seeds, if there are any; the seeds."""
    if seeds:
        state.run_log.note(_verified_on(state, cells[0][0], len(seeds)), why)
        # Side by side the longest run first, and the end of the budget cuts what is short: one
        # configuration on all seeds. So the last seed waits for the others.
        n_first = len(seeds) if state.end is None else max(1, len(seeds) - 1)
        for some in (seeds[:n_first], seeds[n_first:]):
            state.run_log.run(requests_of(state, cells, some, follow), "verify")
    return seeds


def _verified_on(state: StudyState, size: int, n: int) -> Reason:
    if state.end is None:
        return Reason.of("verify_on_fresh_seeds", size=size, n=n)
    return Reason.of("verify_to_the_end", size=size, n=n, epochs=state.whole_epochs)


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
    own = reference_cell(state)
    others = [s for s in state.tuned if s not in state.ruled_out and state.cell(s) != own]
    costs = {other: state.log_cost(other) for other in others}
    by_cost = sorted((cost, other) for other, cost in costs.items() if cost is not None)
    for candidate in dict.fromkeys([size, *(other for _, other in by_cost)]):
        if n_seeds_left(state, candidate) >= _FEWEST_FOLLOWED:
            return candidate
    return size
