"""Climb: which batch sizes are worth tuning, from the reference outwards in factors of four."""

from __future__ import annotations

import math

import numpy as np

from batchlab.advice.findings import Findings
from batchlab.advice.ledger import has_failed
from batchlab.advice.scoring import score

_STRIDE = 4.0
# A neighbour this much worse than the best ends the climb on its side: beyond it lies worse.
_MUCH_WORSE = 1.3
# Towards smaller batches fewer examples may still be needed, in ever smaller shares: the climb ends
# where a factor of four in batch size gains less than this.
_WORTH_GOING_ON = 1.03
# A run of a new batch size is cut where its score would be this much worse than the best.
_CUT_AT = 1.6
_CONTENDER = 1.5
_RUNS_A_VISIT = 5
_UNLIKELY = 0.025


def climb(findings: Findings) -> None:
    """Tune the reference batch size, then its neighbours outwards as long as they can be better."""
    reference = findings.question.reference.batch_size
    sides = {"larger": _anchors(findings, +1), "smaller": _anchors(findings, -1)}
    # Larger batches first: their runs are the cheaper ones to watch, and with three batch sizes the
    # law says whether smaller ones are worth a visit.
    for side in ("larger", "smaller"):
        before = findings.log_score(reference)
        for size in sides[side]:
            if not _can_win(findings, size):
                break
            if not visit(findings, size, why=f"a {side} batch may be better"):
                break
            score, best_score = findings.log_score(size), findings.best_log_score()
            if score is None or best_score is None:
                break
            if score > best_score + math.log(_MUCH_WORSE):
                break
            if before is not None and side == "smaller" and findings.question.objective != "time":
                if before - score < math.log(_WORTH_GOING_ON):
                    break
            before = score


def visit(findings: Findings, batch_size: int, *, why: str) -> bool:
    """Tune a batch size and value it once, twice where it is among the best.

    Returns:
        Whether it was tuned; False: the budget did not reach for it.
    """
    limit = cut_steps(findings, batch_size)
    if not _pays(findings, batch_size, limit):
        return False
    likely = findings.rate_start(batch_size)
    findings.ledger.note(
        f"tune batch size {batch_size}",
        f"{why}; rates from 2^{likely:.1f} times the reference's, at most {limit} steps a run",
    )
    tuned = findings.tune(batch_size, limit_steps=limit)
    if not tuned.records:
        del findings.tuned[batch_size]
        return False
    if tuned.learning_rate is None:
        findings.ruled_out[batch_size] = _why_none(findings, batch_size, limit)
        # Not `limit`: a run may end before it, at the epochs allowed or with the budget.
        missed = [record.steps for record in tuned.records if not has_failed(record)]
        if missed:
            findings.missed_at[batch_size] = min(missed)
        findings.ledger.note(f"batch size {batch_size} is out", findings.ruled_out[batch_size])
        return True
    score, best_score = findings.log_score(batch_size), findings.best_log_score()
    assert score is not None
    assert best_score is not None
    findings.value(batch_size, 2 if score <= best_score + math.log(_CONTENDER) else 1)
    return True


def cut_steps(findings: Findings, batch_size: int) -> int:
    """At how many steps a run of this batch size cannot win any more; some other one has met it."""
    if findings.ledger.until is None:
        return findings.horizon_steps(batch_size)
    best = findings.best()
    assert best is not None
    best_score, best_merit = findings.best_log_score(), findings.log_merit(best)
    assert best_score is not None
    assert best_merit is not None
    steps = _CUT_AT * math.exp(best_score - findings.log_weight(batch_size))
    # Nor can a batch of B need more steps than the best at a smaller batch does, or more examples.
    steps = min(steps, _CUT_AT * math.exp(best_merit) * max(1.0, best / batch_size))
    return max(1, math.ceil(steps))


def _pays(findings: Findings, batch_size: int, limit: int) -> bool:
    """Whether a search and its valuation fit into what is left: three rates and two seeds."""
    usual = limit if findings.ledger.until is None else math.ceil(limit / _CUT_AT)
    ledger = findings.ledger
    at_a_time = min(ledger.engine.n_workers, _RUNS_A_VISIT)
    visit_s = _RUNS_A_VISIT * ledger.run_s(batch_size, usual) / at_a_time
    return visit_s <= ledger.left_s()


def _anchors(findings: Findings, sign: int) -> list[int]:
    """The batch sizes at factors of about four from the reference, the last one the outermost."""
    reference = findings.question.reference.batch_size
    sizes = sorted(
        (option.batch_size for option in findings.options()),
        reverse=sign < 0,
    )
    sizes = [size for size in sizes if (size - reference) * sign > 0]
    anchors: list[int] = []
    here: float = reference
    for i, size in enumerate(sizes):
        far = max(size / here, here / size)
        if far >= _STRIDE * 0.75 or i == len(sizes) - 1:
            anchors.append(size)
            here = size
    return anchors


def _can_win(findings: Findings, batch_size: int) -> bool:
    bound, best_score = findings.optimistic_log_score(batch_size), findings.best_log_score()
    if bound is None or best_score is None:
        return True
    tolerance = math.log1p(findings.question.delta)
    return bound <= best_score + tolerance and not _law_rules_out(findings, batch_size, tolerance)


def _law_rules_out(findings: Findings, batch_size: int, tolerance: float) -> bool:
    """Whether the law, as far as it is known, leaves the batch size no more than 1 in 40."""
    scores = score(findings)
    if scores is None or scores.fit is None or batch_size not in scores.batch_sizes:
        return False
    above = scores.draws - scores.draws.min(axis=1, keepdims=True)
    place = scores.batch_sizes.index(batch_size)
    return bool(np.quantile(above[:, place], _UNLIKELY) > tolerance)


def _why_none(findings: Findings, batch_size: int, limit: int) -> str:
    tuned = findings.tuned[batch_size]
    if tuned.failed == len(tuned.records):
        why = tuned.records[0].reason or tuned.records[0].status
        return f"all {tuned.failed} rates tried diverged or failed: {why}"
    return f"no rate tried met the target within {limit} steps"
