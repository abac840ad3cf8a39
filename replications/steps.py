"""Steps that trials take to a target, at the rate that the even seeds choose."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import batchlab
from batchlab import BatchlabError, Estimate, Study, TrialRecord
from replications.seeds import UNKNOWN, Records, best_of, by_rate, by_seed, judging


def steps_to_target(records: Records) -> dict[int, float]:
    """Return the steps of each seed that reached the target of its study."""

    def steps(record: TrialRecord) -> float | None:
        crossing = None if record.target is None else record.crossing(record.target)
        return None if crossing is None else crossing.middle

    return by_seed(records, steps)


def at_best_rate(study: Study) -> Records:
    """Return the judging trials at the rate with the fewest steps, if all of them got there."""
    (size,) = study.batch_sizes
    rates = by_rate(study, size)
    best = best_of({rate: steps_to_target(of) for rate, of in rates.items()}, better="lower")
    records = () if best is None else judging(rates[best])
    return records if len(steps_to_target(records)) == len(records) else ()


def law_of_steps(studies: Iterable[Study]) -> tuple[Estimate, Estimate]:
    """Return exponent and critical batch size of S = S_min (1 + (B_crit/B)^exponent)."""
    points = [point for study in studies for point in _points(at_best_rate(study))]
    try:
        law = batchlab.fit(points)
    except BatchlabError:  # too few batch sizes reached the target
        return UNKNOWN, UNKNOWN
    return law.exponent, law.b_crit


def _points(records: Records) -> Iterator[dict[str, object]]:
    """Yield between which evaluations each trial reached its target."""
    for record in records:
        crossing = None if record.target is None else record.crossing(record.target)
        if crossing is not None:
            yield {
                "batch_size": record.trial.batch_size,
                "after_steps": crossing.after_step,
                "steps_to_target": crossing.step,
            }
