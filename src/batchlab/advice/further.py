"""Further: follow the runs that the decision stands on to a harder target, where budget is left."""

from __future__ import annotations

import math

from batchlab.advice.decision import Decision
from batchlab.advice.findings import Findings
from batchlab.advice.ledger import Wish
from batchlab.advice.target_level import neighbours
from batchlab.records.trial import Target

# Batch sizes that are this much worse at the target are not expected to win at a harder one.
NEAR = 1.25
# How much longer than to the target a run may go on for the harder one; usually half of that.
_FURTHEST = 3.0
_USUALLY = 1.6


def other_targets(findings: Findings) -> tuple[Target, Target] | None:
    """The easier and the harder target that the decision is repeated at, None: none to be had."""
    target = findings.ledger.until
    if target is None:
        return None
    reference = findings.question.reference.batch_size
    return neighbours(target, list(findings.values(reference).values()))


def near_the_best(decision: Decision) -> list[int]:
    """The batch sizes that may win at a harder target as well."""
    return [
        size
        for size, relative in zip(decision.batch_sizes, decision.relative, strict=True)
        if relative <= NEAR
    ]


def follow_further(findings: Findings, decision: Decision) -> None:
    """Let the valuation runs near the best go on to the harder target, if the budget allows it."""
    targets = other_targets(findings)
    if targets is None:
        return
    harder = targets[1]
    wishes = []
    cost_s = 0.0
    for size in near_the_best(decision):
        cell, merit = findings.cell(size), findings.log_merit(size)
        if cell is None or merit is None:
            continue
        for seed, record in findings.values(size).items():
            if record.crossing(harder) is None:
                wishes.append(
                    Wish(
                        batch_size=size,
                        learning_rate=cell[1],
                        seed=seed,
                        steps=math.ceil(_FURTHEST * math.exp(merit)),
                    )
                )
                new_steps = math.ceil((_USUALLY - 1) * math.exp(merit))
                cost_s += findings.ledger.run_s(size, new_steps)
    if wishes and cost_s / findings.ledger.engine.n_workers <= findings.ledger.left_s():
        findings.ledger.note(
            f"follow {len(wishes)} runs on to {harder.metric} {harder.value:.4g}",
            "the decision is repeated at a harder target",
        )
        findings.ledger.run(wishes, "value", until=harder)
