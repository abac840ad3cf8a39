"""Further: follow the runs that the decision stands on to a harder target, where budget is left."""

from __future__ import annotations

import math

from batchlab.advice.decision import Decision
from batchlab.advice.study_state import StudyState
from batchlab.advice.target_level import neighbours
from batchlab.records.reason import Reason
from batchlab.records.target import Target

# Batch sizes that are this much worse at the target are not expected to win at a harder one.
NEAR = 1.25
# How much longer than to the target a run may go on for the harder one; usually half of that.
_FURTHEST = 3.0
_USUALLY = 1.6


def other_targets(state: StudyState) -> tuple[Target, Target] | None:
    """The easier and the harder target that the decision is repeated at, None: none to be had.

    Beyond the end of a training there is no harder one.
    """
    target = state.run_log.until
    if target is None or state.end is not None:
        return None
    reference = state.question.reference.batch_size
    return neighbours(target, list(state.valuation_runs(reference).values()))


def near_the_best(decision: Decision) -> list[int]:
    """The batch sizes that may win at a harder target as well."""
    return [
        size
        for size, relative in zip(decision.batch_sizes, decision.relative, strict=True)
        if relative <= NEAR
    ]


def follow_to_harder_target(state: StudyState, decision: Decision) -> None:
    """Let the valuation runs near the best go on to the harder target, if the budget allows it."""
    targets = other_targets(state)
    if targets is None:
        return
    harder = targets[1]
    requests = []
    cost_s = 0.0
    for size in near_the_best(decision):
        cell, cost = state.cell(size), state.log_learning_cost(size)
        if cell is None or cost is None:
            continue
        for seed, record in state.valuation_runs(size).items():
            if record.crossing(harder) is None:
                requests.append(
                    state.run_log.request(
                        batch_size=size,
                        learning_rate=cell[1],
                        seed=seed,
                        steps=math.ceil(_FURTHEST * math.exp(cost)),
                        until=harder,
                    )
                )
                new_steps = math.ceil((_USUALLY - 1) * math.exp(cost))
                cost_s += state.run_log.run_s(size, new_steps)
    if requests and cost_s / state.run_log.engine.n_workers <= state.run_log.left_s():
        state.run_log.note(
            Reason.of("follow_runs", runs=len(requests), metric=harder.metric, value=harder.value),
            Reason.of("harder_target_decided_too"),
        )
        state.run_log.run(requests, "value")
