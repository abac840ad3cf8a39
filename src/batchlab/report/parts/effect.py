"""Effect: what a batch size does to a training: the epochs it needs, the noise of its metric."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from batchlab.laws.plateau import metric_noise
from batchlab.records.study import Study
from batchlab.records.trial import TrialRecord
from batchlab.report.parts.held_out import deciding_split
from batchlab.report.parts.plateaus import Plateaus


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """What one batch size does to a training, seed by seed.

    Attributes:
        batch_size: examples per step.
        records: its trainings at one learning rate, each ended well.
        plateau_epochs: of the seeds that reached their plateau, after how many epochs.
        unfinished_epochs: of those that still improved, how many epochs they had.
        noises: the metric's standard deviation around its trend over the last half of the epochs,
            of the seeds with enough evaluations there that reached their plateau.
    """

    batch_size: int
    records: tuple[TrialRecord, ...]
    plateau_epochs: tuple[float, ...]
    unfinished_epochs: tuple[float, ...]
    noises: tuple[float, ...]

    @property
    def learning_rate(self) -> float:
        """The rate of its trainings; there is at least one."""
        return self.records[0].trial.learning_rate

    @classmethod
    def of(
        cls,
        study: Study,
        records: Iterable[TrialRecord],
        plateaus: Plateaus,
        *,
        batch_size: int,
    ) -> Effect:
        """What trainings of a study show.

        Args:
            study: the study.
            records: its trainings at this batch size and one learning rate, each ended well.
            plateaus: of the study.
            batch_size: examples per step.
        """
        found = [(record, plateaus.of(record)) for record in records]
        # The bends of a curve that still improves, or may, are no noise.
        flat = [record for record, plateau in found if plateau.verdict == "reached"]
        noises = (metric_noise(_last_half(study, record)) for record in flat)
        return cls(
            batch_size=batch_size,
            records=tuple(record for record, _ in found),
            plateau_epochs=tuple(
                float(plateau.epoch) for _, plateau in found if plateau.epoch is not None
            ),
            unfinished_epochs=tuple(
                record.epochs for record, plateau in found if plateau.verdict == "not_yet"
            ),
            noises=tuple(noise for noise in noises if noise is not None),
        )


def _last_half(study: Study, record: TrialRecord) -> list[float]:
    """The deciding metric at the ends of the later half of the epochs."""
    values = record.at_epoch_ends(deciding_split(study), study.workload.metrics[0].name)
    last = max(values, default=0)
    return [value for epoch, value in sorted(values.items()) if epoch > last / 2]
