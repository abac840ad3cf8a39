"""Caveats: what limits an answer, each as a reason with its figures."""

from __future__ import annotations

from collections.abc import Sequence

from scipy.special import betaincinv

from batchlab.advice.conclusion import Conclusion
from batchlab.advice.parts import TargetAnswer, TargetOrigin
from batchlab.advice.repeated_decisions import is_another
from batchlab.advice.run_log import CellKey, RunLog
from batchlab.advice.study_state import StudyState
from batchlab.advice.verification_runs import reference_cell
from batchlab.records.reason import Reason
from batchlab.records.target import Target

_CONFIDENCE = 0.95
# Rates lie on octaves; a found one may lie a little off its octave.
_UP_TO = 2.1


def caveats_of(
    state: StudyState,
    outcome: Conclusion,
    *,
    origin: TargetOrigin,
    named: CellKey | None,
    others: Sequence[TargetAnswer],
) -> list[Reason]:
    """What limits the answer.

    Args:
        state: the runs.
        outcome: what the study came to.
        origin: where the target came from.
        named: the batch size and rate that the answer names, for now too.
        others: the decisions at other targets.
    """
    caveats = []
    if state.end is not None and state.end.ended_by == "overfitting":
        caveats.append(Reason.of("reference_overfits"))
    if origin == "easier" and state.run_log.until is not None:
        caveats.append(_easier_than_asked(state.run_log.until, state.question.target))
    verified = outcome.verification
    if verified is not None and verified.head_to_head is None and state.end is None:
        caveats.append(Reason.of("not_verified"))
    if verified is not None and verified.missed:
        n = verified.n + verified.missed
        caveats.append(Reason.of("some_seeds_missed", missed=verified.missed, n=n))
    if outcome.soonest is not None and outcome.soonest != outcome.raced:
        caveats.append(_below_the_soonest(outcome))
    # Of a configuration that stays as it is its user knows whether it holds.
    if named is not None and named != reference_cell(state):
        edge = _at_the_edge(state.run_log, *named)
        caveats += [] if edge is None else [edge]
    unfinished = [size for size, tuned in state.tuned.items() if not tuned.finished]
    if unfinished:
        caveats.append(Reason.of("rate_search_cut", sizes=sorted(unfinished)))
    if state.question.objective != "quality":
        caveats += state.carried_over().caveats()
    return caveats + [
        Reason.of(
            "another_decision_at_target",
            which=other.which,
            metric=other.target.metric,
            value=other.target.value,
            size=other.batch_size,
        )
        for other in others
        if is_another(other, outcome.decision)
    ]


def _below_the_soonest(outcome: Conclusion) -> Reason:
    assert outcome.raced is not None
    assert outcome.soonest is not None
    (size, named), (_, soonest) = outcome.raced, outcome.soonest
    return Reason.of("below_the_soonest", size=size, rate=named, soonest=soonest)


def _at_the_edge(run_log: RunLog, batch_size: int, learning_rate: float) -> Reason | None:
    """That a rate lies beside one that diverges, or diverged once itself; None: nothing says so.

    The share of trainings that diverge is at most the bound of Clopper & Pearson 1934, Biometrika
    26(4), by its seeds.
    """
    records = [*run_log.records.items(), *run_log.cooled.items()]
    seeds: dict[int, bool] = {}
    for (size, rate, seed), record in records:
        if (size, rate) == (batch_size, learning_rate):
            seeds[seed] = seeds.get(seed, False) or record.has_diverged
    diverged = [
        rate for (size, rate, _), record in records if size == batch_size and record.has_diverged
    ]
    above = [rate for rate in diverged if learning_rate <= rate <= _UP_TO * learning_rate]
    n, held = len(seeds), len(seeds) - sum(seeds.values())
    if not above or not held:
        return None
    return Reason.of(
        "at_the_edge",
        size=batch_size,
        rate=learning_rate,
        above=max(above),
        held=held,
        n=n,
        share=float(betaincinv(n - held + 1, held, _CONFIDENCE)),
    )


def _easier_than_asked(target: Target, asked: Target | None) -> Reason:
    if asked is None:
        return Reason.of("easier_than_plateau", metric=target.metric, value=target.value)
    return Reason.of(
        "easier_than_asked", metric=target.metric, value=target.value, asked=asked.value
    )
