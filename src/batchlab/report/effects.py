"""What a batch size does to a training: epochs it needs, noise of its metric, its gap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from batchlab.laws.plateau import metric_noise
from batchlab.records.study import Study
from batchlab.records.trial import TrialRecord
from batchlab.report.cells import Plateaus, chosen_cells, deciding_split, final_gaps, held_out_split
from batchlab.report.text import (
    batch_sizes_text,
    batch_text,
    label_text,
    quantity_text,
    split_label,
    term_text,
)
from batchlab.words.catalogue import number_text, plural, text


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


# What stands beside the figures of these effects.
PLATEAU_NOTE = (
    "A training is at its plateau where more epochs are not expected to make it better by an "
    "amount that matters."
)
UNFINISHED_NOTE = "↑: it still improved at its last epoch, so it needs more epochs than this."
NOISE_NOTE = (
    "The jumps are the standard deviation of the metric around its trend, over the last half of "
    "the epochs, of trainings that reached their plateau."
)


def gap_text(study: Study, found: Sequence[Effect]) -> str | None:
    """The gap of the smallest and of the largest batch size; None: it is known of less than two."""
    split, metric = held_out_split(study), study.workload.metrics[0].name
    if split is None:
        return None
    gaps = ((effect, final_gaps(effect.records, split, metric)) for effect in found)
    ends = _ends([(effect, gap.mean) for effect, gap in gaps if gap is not None])
    if ends is None:
        return None
    small, low, large, high = ends
    return text(
        "Training minus {split} {metric}: {low} at {small}, {high} at {large}.",
        split=term_text(split),
        metric=label_text(metric),
        low=quantity_text("generalization_gap", low),
        small=batch_text(study, small.batch_size),
        high=quantity_text("generalization_gap", high),
        large=batch_text(study, large.batch_size),
    )


def plateau_text(study: Study, found: Sequence[Effect]) -> str | None:
    """How many epochs are enough, and which batch sizes still improved; None: neither is known."""
    reached = [
        (effect, max(effect.plateau_epochs))
        for effect in found
        if effect.plateau_epochs and not effect.unfinished_epochs
    ]
    unfinished = [effect for effect in found if effect.unfinished_epochs]
    parts = []
    if reached:
        most = max(epochs for _, epochs in reached)
        names = batch_sizes_text(study, [effect.batch_size for effect, _ in reached])
        parts.append(
            plural(
                "{n} epoch is enough for {names}.",
                "{n} epochs are enough for {names}.",
                int(most),
                names=names,
            )
        )
    if unfinished:
        names = batch_sizes_text(study, [effect.batch_size for effect in unfinished])
        still = "Still improving at the end: {names}. More epochs may change the order."
        parts.append(text(still, names=names))
    return " ".join(parts) or None


def noise_text(study: Study, found: Sequence[Effect]) -> str | None:
    """The noise of the smallest and of the largest batch size; None: known of less than two."""
    ends = _ends([(effect, fmean(effect.noises)) for effect in found if effect.noises])
    if ends is None:
        return None
    small, low, large, high = ends
    return text(
        "From one epoch to the next the {metric} jumps by about {low} at {small} and {high} at "
        "{large}.",
        metric=split_label(deciding_split(study), study.workload.metrics[0].name),
        low=number_text(low, ".2g"),
        small=batch_text(study, small.batch_size),
        high=number_text(high, ".2g"),
        large=batch_text(study, large.batch_size),
    )


def _ends(known: list[tuple[Effect, float]]) -> tuple[Effect, float, Effect, float] | None:
    """The smallest and the largest batch size with a value."""
    if len(known) < 2:
        return None
    (small, low), (large, high) = known[0], known[-1]
    return small, low, large, high


def effects(study: Study, plateaus: Plateaus) -> tuple[Effect, ...]:
    """The effect of every batch size that is shown, in ascending order."""
    return tuple(
        Effect.of(study, cell.ended_well, plateaus, batch_size=cell.batch_size)
        for cell in chosen_cells(study)
    )


def effect_sentences(study: Study, plateaus: Plateaus) -> dict[str, str]:
    """One sentence on each effect that was seen: "gap", "epochs", "noise"."""
    found = effects(study, plateaus)
    said = {
        "gap": gap_text(study, found),
        "epochs": plateau_text(study, found),
        "noise": noise_text(study, found),
    }
    return {name: sentence for name, sentence in said.items() if sentence is not None}
