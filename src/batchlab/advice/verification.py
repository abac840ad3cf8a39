"""Verification: the recommendation against the reference, on seeds that had no part in the choice.

Source: design §6.8: the best of many noisy cells looks better than it is; so what is reported of
the recommendation, and its gain, comes from these runs alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from scipy.special import stdtrit

from batchlab.advice.advice import HeadToHead
from batchlab.advice.findings import Findings
from batchlab.advice.ledger import Purpose, Wish, has_failed
from batchlab.advice.scatter import pooled_sd
from batchlab.advice.scoring import weight_sd
from batchlab.advice.tuning import merit_of
from batchlab.records.estimate import Estimate

N_SEEDS = 3
# The reference is followed for so many times what the recommendation takes; a reference that has
# not met the target by then gives a lower bound, and following it further costs more than it tells.
_FOLLOW = 6.0
Cell = tuple[int, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """What fresh seeds said.

    Attributes:
        head_to_head: the figures seed by seed; None: nothing could be run.
        log_merit: mean log steps (quality: shortfall) of the recommendation; None: not known.
        half_width: of its 95 % interval, on the log scale; None: not known.
        n: runs of the recommendation that have a figure.
        missed: runs of the recommendation that missed the target or failed.
        gain: the reference's figure over the recommendation's.
        gain_from_batch_size: the same for the reference batch size at its own tuned rate.
    """

    head_to_head: HeadToHead | None
    log_merit: float | None
    half_width: float | None
    n: int
    missed: int
    gain: Estimate
    gain_from_batch_size: Estimate


def reserve(findings: Findings) -> None:
    """Set aside what the verification is expected to cost, at most a quarter of the budget."""
    reference = findings.question.reference.batch_size
    cells = [findings.cell(reference), _reference_cell(findings)]
    best = findings.best()
    if best is not None:
        cells.append(findings.cell(best))
    wishes = [
        Wish(batch_size=cell[0], learning_rate=cell[1], seed=seed, steps=_limit(findings, cell))
        for cell in dict.fromkeys(cells)
        if cell is not None
        for seed in findings.seeds.verify[:N_SEEDS]
    ]
    findings.ledger.reserved_s = min(findings.expected_s(wishes), findings.question.budget_s / 4)


def verify(findings: Findings, batch_size: int) -> Verification:
    """Run the recommendation, the reference and the tuned reference on fresh seeds, paired."""
    findings.ledger.reserved_s = 0.0
    chosen = findings.cell(batch_size)
    assert chosen is not None
    reference = _reference_cell(findings)
    tuned = findings.cell(findings.question.reference.batch_size)
    cells = list(dict.fromkeys(cell for cell in (chosen, reference, tuned) if cell is not None))
    seeds = findings.seeds.verify[:N_SEEDS]
    for n in range(len(seeds), 0, -1):
        wishes = [
            Wish(batch_size=cell[0], learning_rate=cell[1], seed=seed, steps=_limit(findings, cell))
            for seed in seeds[:n]
            for cell in cells
        ]
        if findings.expected_s(wishes) <= findings.ledger.left_s():
            findings.ledger.note(
                f"verify batch size {batch_size} on {n} fresh seeds",
                "the runs that chose it look better than it is",
            )
            findings.ledger.run(wishes, "verify")
            return _read(findings, seeds[:n], chosen, reference, tuned)
    why = "the budget had nothing left for runs on fresh seeds"
    return Verification(
        head_to_head=None,
        log_merit=None,
        half_width=None,
        n=0,
        missed=0,
        gain=Estimate.cannot_tell(why),
        gain_from_batch_size=Estimate.cannot_tell(why),
    )


def _read(
    findings: Findings, seeds: tuple[int, ...], chosen: Cell, reference: Cell, tuned: Cell | None
) -> Verification:
    figures = {
        cell: _log_figures(findings, cell, seeds) for cell in (chosen, reference, tuned) if cell
    }
    sd, degrees = _scatter(findings)
    mine = [value for value in figures[chosen].values() if value is not None]
    quantile = float(stdtrit(degrees, 0.975))
    weight = findings.log_weight(chosen[0])
    return Verification(
        head_to_head=HeadToHead(
            seeds=seeds,
            recommended=_plain(figures[chosen], seeds),
            reference=_plain(figures[reference], seeds),
            reference_tuned=() if tuned is None else _plain(figures[tuned], seeds),
            reference_bounds=tuple(_bound(findings, reference, seed) for seed in seeds),
        ),
        log_merit=sum(mine) / len(mine) - weight if mine else None,
        half_width=quantile * sd / math.sqrt(len(mine)) if mine else None,
        n=len(mine),
        missed=sum(_missed(findings, chosen, seed) for seed in seeds),
        gain=_gain(findings, chosen, reference, figures, error=quantile * sd, quantile=quantile),
        gain_from_batch_size=Estimate.cannot_tell(
            "the reference batch size has no tuned rate: none met the target"
        )
        if tuned is None
        else _gain(findings, chosen, tuned, figures, error=quantile * sd, quantile=quantile),
    )


def _gain(
    findings: Findings,
    chosen: Cell,
    other: Cell,
    figures: Mapping[Cell, Mapping[int, float | None]],
    *,
    error: float,
    quantile: float,
) -> Estimate:
    """How many times the other's figure is the chosen one's, over the seeds that both ran.

    `error` is the half width of one run's 95 % interval, log; `quantile` gives that of a step time.
    """
    if chosen == other:
        return Estimate.of(1.0, interval=(1.0, 1.0), n=len(figures[chosen]))
    ratios, is_bound = [], False
    for seed, own in figures[chosen].items():
        figure = figures[other][seed]
        if own is None:
            continue
        if figure is None:
            bound = _bound(findings, other, seed)
            if bound is None:
                continue
            figure, is_bound = math.log(bound), True
        ratios.append(figure - own)
    if not ratios:
        return Estimate.cannot_tell("on no fresh seed did both give a figure", n=0)
    mean = sum(ratios) / len(ratios)
    half = error * math.sqrt(2 / len(ratios))
    if chosen[0] != other[0]:  # else both have the same step time, which cancels
        weights = (weight_sd(findings, chosen[0]), weight_sd(findings, other[0]))
        half = math.hypot(half, quantile * weights[0], quantile * weights[1])
    if is_bound:
        return Estimate(
            estimate=None,
            low=math.exp(mean - half),
            high=None,
            n=len(ratios),
            reason="it missed the target while it was followed: the gain is at least this",
        )
    return Estimate.of(
        math.exp(mean), interval=(math.exp(mean - half), math.exp(mean + half)), n=len(ratios)
    )


def _log_figures(findings: Findings, cell: Cell, seeds: tuple[int, ...]) -> dict[int, float | None]:
    """The objective's figure, log, by seed; None where the run has none."""
    figures: dict[int, float | None] = {}
    for seed in seeds:
        record = findings.ledger.records.get((*cell, seed))
        merit = None if record is None else merit_of(findings.ledger, record)
        figures[seed] = None if merit is None else math.log(merit) + findings.log_weight(cell[0])
    return figures


def _bound(findings: Findings, cell: Cell, seed: int) -> float | None:
    """The figure by which a run that missed the target had not met it; None: it did, or failed."""
    record = findings.ledger.records.get((*cell, seed))
    if record is None or findings.ledger.until is None or record.steps == 0:
        return None
    if merit_of(findings.ledger, record) is not None or has_failed(record):
        return None
    return math.exp(math.log(record.steps) + findings.log_weight(cell[0]))


def _missed(findings: Findings, cell: Cell, seed: int) -> bool:
    """Whether a run failed or was followed to its limit in vain; out of time is not in vain."""
    record = findings.ledger.records.get((*cell, seed))
    if record is None or merit_of(findings.ledger, record) is not None:
        return False
    return has_failed(record) or record.steps >= _limit(findings, cell)


def _plain(figures: dict[int, float | None], seeds: tuple[int, ...]) -> tuple[float | None, ...]:
    found = (figures[seed] for seed in seeds)
    return tuple(None if value is None else math.exp(value) for value in found)


def _scatter(findings: Findings) -> tuple[float, int]:
    """Scatter between seeds, pooled over every cell that fresh seeds ran."""
    groups: dict[Cell, list[float]] = {}
    fresh: tuple[Purpose, ...] = ("value", "verify")
    for key, record in findings.ledger.records.items():
        merit = merit_of(findings.ledger, record)
        if findings.ledger.purposes[key] in fresh and merit is not None:
            groups.setdefault(key[:2], []).append(math.log(merit))
    return pooled_sd(groups.values())


def _reference_cell(findings: Findings) -> Cell:
    reference = findings.question.reference
    return reference.batch_size, reference.learning_rate


def _limit(findings: Findings, cell: Cell) -> int:
    """At how many steps a verification run of this cell is cut."""
    if findings.ledger.until is None:
        return findings.horizon_steps(cell[0])
    if cell == findings.cell(cell[0]):
        return findings.value_limit(cell[0])
    best_score = findings.best_log_score()
    assert best_score is not None
    return max(1, math.ceil(_FOLLOW * math.exp(best_score - findings.log_weight(cell[0]))))
