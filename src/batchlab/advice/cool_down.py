"""Cool-down: whether a rate that falls to zero at the end mends what ends worse at a constant one.

A rate that is fast to a level is often too high for the end, where its steps only shake the
weights. Over the last fifth of the training it falls linearly to zero, for the reference too: a
cool-down helps every rate, and the high ones most.
"""

from __future__ import annotations

import math
from dataclasses import replace

from batchlab.advice.endings import endings_of
from batchlab.advice.parts import Endings
from batchlab.advice.run_log import COOL_DOWN, CellKey
from batchlab.advice.study_state import StudyState
from batchlab.advice.verification import log_figures, mean_of_all
from batchlab.advice.verification_runs import N_SEEDS, requests_of, seeds_that_fit
from batchlab.advice.whole_training import whole_steps
from batchlab.records.reason import Reason

# Of what is left, where it ends worse for sure: if that mends nothing, the next fastest wants to be
# shown to end no worse.
_AT_MOST = 1 / 2


def with_cool_down(state: StudyState, constant: Endings) -> Endings:
    """How the same configurations end with a cool-down, where that mends what ends worse without.

    Args:
        state: the runs.
        constant: how they end at a constant rate; the recommendation ends worse, for sure or as far
            as can be seen.

    Returns:
        The ends with a cool-down, no worse than the best of the references with and without one.
        Else `constant`: with the reason, where it was tried; as it is where it was not: a training
        failed, such a training takes longer than a reference does to the level, the workload has a
        schedule of its own, the engine cannot, or the budget does not reach for it.
    """
    recommended = constant.recommended.cell
    has_failed = len(constant.recommended.found) < len(constant.seeds)
    if has_failed or not _may_cool(state, recommended) or not _is_sooner(state, constant):
        return constant
    cells = [recommended, *(ending.cell for ending in constant.references)]
    share = _AT_MOST if constant.verdict == "worse" else 1.0
    seeds = seeds_that_fit(state, cells, constant.seeds, cool_down=COOL_DOWN, share=share)
    if len(seeds) < min(N_SEEDS, len(constant.seeds)):
        return constant
    epochs = state.whole_epochs
    did = Reason.of("try_cool_down", size=recommended[0], n=len(seeds), epochs=epochs)
    state.run_log.note(did, constant.reason)
    state.run_log.run(requests_of(state, cells, seeds, cool_down=COOL_DOWN), "cool_down")
    tuned = constant.reference_tuned
    found = endings_of(
        state,
        seeds,
        recommended=recommended,
        reference=constant.reference.cell,
        tuned=None if tuned is None else tuned.cell,
        n_looks=1,
        constant=constant,
    )
    if found is not None and found.verdict == "no_worse":
        return found
    if constant.verdict == "open":
        return constant
    return replace(constant, reason=Reason.of("cool_down_mends_nothing", why=constant.reason))


def _is_sooner(state: StudyState, constant: Endings) -> bool:
    """Whether a whole training costs less than the faster of the references to the level.

    With a cool-down the level is met at the end of the training, not on the way.
    """
    size = constant.recommended.batch_size
    whole = math.log(whole_steps(state, size)) + state.log_weight(size)
    figures = (log_figures(state, each.cell, constant.seeds) for each in constant.references)
    return all(cost is None or whole < cost for cost in map(mean_of_all, figures))


def _may_cool(state: StudyState, cell: CellKey) -> bool:
    engine = state.run_log.engine
    trial = engine.trial(batch_size=cell[0], learning_rate=cell[1], seed=state.seeds.verify[0])
    return engine.capabilities.cools_down and trial.horizon_steps is None
