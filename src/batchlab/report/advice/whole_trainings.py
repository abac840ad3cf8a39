"""WholeTrainings: the trainings of a batch size that went on to their end."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from batchlab.advice.advice import Advice
from batchlab.records.study import Study
from batchlab.records.trial import TrialRecord
from batchlab.report.advice.epochs_to_target import answered_rates
from batchlab.report.advice.rows import is_same_rate
from batchlab.report.parts.held_out import deciding_split

# Of the longest run: what has so much of a fixed length came to its end.
_NEARLY_ALL = 0.99


@dataclass(frozen=True, kw_only=True, slots=True)
class WholeTrainings:
    """The whole trainings of one batch size at one learning rate, equally long.

    Attributes:
        batch_size: examples per step.
        learning_rate: the rate.
        records: one a seed, at least one, each ended well.
    """

    batch_size: int
    learning_rate: float
    records: tuple[TrialRecord, ...]

    @property
    def epochs(self) -> float:
        """Passes over the training set of each."""
        return self.records[0].epochs


def whole_trainings(
    advice: Advice, study: Study, *, cool_down: float
) -> tuple[WholeTrainings, ...]:
    """The whole trainings of every batch size that has some, ascending, at one rate each.

    That is the rate which the answer has for the batch size, or else the one whose trainings end
    best on validation data. Where trainings were compared on certain seeds, only these count.

    Args:
        advice: the answer; it says which rates and seeds count.
        study: its trials.
        cool_down: the last part over which the rate fell to zero; 0.0: it did not.
    """
    whole = [r for r in _ended(advice, study) if r.trial.cool_down == cool_down]
    seeds = () if advice.endings is None else advice.endings.seeds
    found = []
    for size in sorted({record.trial.batch_size for record in whole}):
        own = [record for record in whole if record.trial.batch_size == size]
        rates = {record.trial.learning_rate for record in own}
        cells = {rate: _cell(own, rate, seeds) for rate in rates}
        rate = _rate_of(advice, study, size, cells)
        found.append(WholeTrainings(batch_size=size, learning_rate=rate, records=cells[rate]))
    return tuple(found)


def _ended(advice: Advice, study: Study) -> list[TrialRecord]:
    """Those that were trained to their end.

    Train data are evaluated there and nowhere else. Where the length of a run was fixed they never
    are; there it is the length that tells.
    """
    metric = study.workload.metrics[0].name
    well = [record for record in study.records if record.ended_well]
    if advice.objective != "quality":
        return [record for record in well if record.final("train", metric) is not None]
    longest = max((record.epochs for record in well), default=0.0)
    return [record for record in well if record.epochs >= _NEARLY_ALL * longest > 0]


def _cell(
    records: Iterable[TrialRecord], rate: float, seeds: Sequence[int]
) -> tuple[TrialRecord, ...]:
    """The trainings at one rate: on the seeds that count, of the length that most have."""
    same = [record for record in records if record.trial.learning_rate == rate]
    compared = [record for record in same if record.trial.seed in seeds] or same
    lengths = Counter(record.steps for record in compared)
    length = max(lengths, key=lambda steps: (lengths[steps], steps))
    return tuple(record for record in compared if record.steps == length)


def _rate_of(
    advice: Advice, study: Study, size: int, cells: dict[float, tuple[TrialRecord, ...]]
) -> float:
    for answered in answered_rates(advice, size):
        for rate in cells:
            if is_same_rate(rate, answered):
                return rate
    metric, split = study.workload.metrics[0], deciding_split(study)
    sign = 1 if metric.better == "higher" else -1

    def end(rate: float) -> float:
        known = [record.final(split, metric.name) for record in cells[rate]]
        values = [value for value in known if value is not None]
        return sign * statistics.fmean(values) if values else -float("inf")

    return max(sorted(cells), key=end)
