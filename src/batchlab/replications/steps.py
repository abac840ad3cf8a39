"""Steps: how many a study's trials took to its target, at the rate that other seeds chose."""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.laws.steps_curve import StepsObservation
from batchlab.records.study import Study
from batchlab.records.trial import TrialRecord
from batchlab.replications.arms import Seeds, by_rate, by_seed, chosen_by_others


def steps_by_rate(study: Study, batch_size: int) -> dict[float, Seeds]:
    """The steps to the study's target of each rate at which every seed reached it."""
    assert study.target is not None, "only of studies with a target"
    target, n_seeds = study.target, len({record.trial.seed for record in study.records})
    found = {}

    def middle(record: TrialRecord) -> float | None:
        crossing = record.crossing(target)
        return None if crossing is None else crossing.middle

    for rate, records in by_rate(study, batch_size).items():
        steps = by_seed(records, middle)
        if len(steps) == n_seeds:
            found[rate] = steps
    return found


def rates_chosen(study: Study, batch_size: int) -> dict[int, float]:
    """For each seed the rate with the fewest steps in the mean of the others."""
    return chosen_by_others(steps_by_rate(study, batch_size), better="lower")


def at_chosen_rates(study: Study) -> Iterator[StepsObservation]:
    """Between which evaluations each seed reached the target at its rate."""
    assert study.target is not None, "only of studies with a target"
    for size in study.batch_sizes:
        chosen = rates_chosen(study, size)
        for record in study.records:
            trial, crossing = record.trial, record.crossing(study.target)
            at_rate = trial.batch_size == size and trial.learning_rate == chosen.get(trial.seed)
            if at_rate and crossing is not None:
                after, steps = crossing.after_step, crossing.step
                yield StepsObservation(batch_size=size, after_steps=after, steps=steps)
