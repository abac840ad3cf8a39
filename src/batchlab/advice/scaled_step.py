"""Scaled step: batch size and rate in proportion, where nothing found is likely to be no worse.

Whole trainings of it are compared with the reference's on the same seeds. How such steps ended on
recorded workloads is known before one is run (`batchlab.advice.chance`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from batchlab.advice.advice import Endings
from batchlab.advice.chance import (
    AFTER_WORSE,
    LIKELY,
    SCALED,
    SCALED_UNSEEN,
    at_the_edge,
    left_at_the_edge,
    seen_in,
)
from batchlab.advice.endings import endings_of, is_trained_whole
from batchlab.advice.race import HARDLY_FASTER, gain_of_single_runs
from batchlab.advice.run_log import CellKey
from batchlab.advice.study_state import Size, StudyState
from batchlab.advice.whole_trainings import requests_of, seeds_that_fit
from batchlab.records.estimate import Estimate, Reason

# With fewer whole trainings one that was not run may be named: `SCALED_UNSEEN` is of such answers.
_FEW = 6.0
_UNSEEN_TIMES = 2
_MOST_SEEDS = 6
SCALED_STEPS = ("scaled_step", "doubled_unseen")  # the codes of its reasons


@dataclass(frozen=True, kw_only=True, slots=True)
class ScaledStep:
    """So many times the reference's batch size and rate."""

    cell: CellKey
    chance: float
    endings: Endings | None  # None: it was not run
    gain: Estimate  # of time to the level

    @property
    def why(self) -> Reason:
        """What its chance comes from."""
        if self.endings is None:
            return Reason.of("doubled_unseen", chance=self.chance)
        return Reason.of("scaled_step", chance=self.chance, n=len(self.endings.seeds))


def scaled_step(state: StudyState) -> ScaledStep | None:
    """The largest that is likely to be neither slower nor worse at the end; None: none is."""
    state.reserved_s, seen_worse = 0.0, False
    if state.hardly_learns is not None:
        return None
    for times, prior in SCALED.items():
        size = _larger(state, times)
        if size is None or size.ruled_out is not None:
            continue
        octave = state.lattice.nearest(size.batch_size, math.log2(times))
        if octave <= 0:
            continue  # the engine has no higher rate
        cell = state.lattice.cell((size.batch_size, octave))
        if (endings := _trained(state, cell)) is None:
            if times == _UNSEEN_TIMES and _has_few(state) and not seen_worse:
                unknown = Estimate.cannot_tell(Reason.of("was_not_tried"))
                return ScaledStep(cell=cell, chance=SCALED_UNSEEN, endings=None, gain=unknown)
            continue
        # What ends worse at four times ends nearly so at twice.
        prior = AFTER_WORSE if seen_worse and times == _UNSEEN_TIMES else prior
        mine, gain = endings.recommended, gain_of_single_runs(state, cell, endings.seeds)
        chance, is_whole = seen_in(endings, mine, prior=prior).chance, None not in mine.values
        chance *= left_at_the_edge(at_the_edge(state, cell))
        if is_whole and gain is not None and (gain.estimate or 0) > 1 and chance >= LIKELY:
            return ScaledStep(cell=cell, chance=chance, endings=endings, gain=gain)
        seen_worse = True
    return None


def _larger(state: StudyState, times: int) -> Size | None:
    """The batch size, where it processes clearly more examples a second than the reference's."""
    own = state.reference
    size = state.sizes.get(times * own.batch_size)
    if size is None or not size.option.runs:
        return None
    slower = math.exp(size.log_weight - own.log_weight)
    return size if HARDLY_FASTER * slower <= times else None


def _has_few(state: StudyState) -> bool:
    if state.end is None:
        return True
    size = state.reference
    return state.question.budget_s < _FEW * size.run_s(size.whole_steps)


def _trained(state: StudyState, cell: CellKey) -> Endings | None:
    """How it ends beside the reference, on as many seeds as are left for; None: on none."""
    if state.end is None:
        return None
    own = {seed: state.records.get((*state.reference_cell, seed)) for seed in state.seeds.verify}
    fresh = [seed for seed, run in own.items() if run and is_trained_whole(state, run)]
    seeds = tuple(fresh[:_MOST_SEEDS]) or state.seeds.tune[:1]
    seeds = seeds_that_fit(state, [cell], seeds)
    if not seeds:
        return None
    state.note(
        Reason.of("trained_scaled", size=cell[0], rate=cell[1]),
        Reason.of("nothing_likely_no_worse"),
    )
    state.run(requests_of(state, [cell], seeds), "verify")
    return endings_of(state, seeds, recommended=cell)
