"""What a batch size does to a training: the epochs it needs, the noise of its metric, its gap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from batchlab.laws.plateau import metric_noise
from batchlab.records.study import Study
from batchlab.records.trial import TrialRecord
from batchlab.report.cells import (
    chosen_cells,
    deciding_split,
    final_gaps,
    held_out_split,
    plateaus_of,
)
from batchlab.report.text import (
    batch_sizes_text,
    batch_text,
    label_text,
    quantity_text,
    split_label,
    term_text,
)
from batchlab.words.catalogue import number_text, plural, text

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """What one batch size does to a training, seed by seed.

    Attributes:
        records: its trainings at one learning rate, at least one, each ended well.
        plateau_epochs: of the seeds that reached their plateau, after how many epochs.
        unfinished_epochs: of those that still improved, how many epochs they had.
        noises: the metric's standard deviation around its trend over the last half of the epochs,
            of the seeds with enough evaluations there that reached their plateau.
    """

    records: tuple[TrialRecord, ...]
    plateau_epochs: tuple[float, ...]
    unfinished_epochs: tuple[float, ...]
    noises: tuple[float, ...]

    @property
    def batch_size(self) -> int:
        """Examples per step."""
        return self.records[0].trial.batch_size

    @property
    def learning_rate(self) -> float:
        """The rate of its trainings."""
        return self.records[0].trial.learning_rate


def effect_of(study: Study, records: Iterable[TrialRecord]) -> Effect:
    """What trainings of a study at one batch size and learning rate show."""
    plateau = plateaus_of(study)
    found = [(record, plateau(record)) for record in records]
    # The bends of a curve that still improves, or may, are no noise.
    noises = [
        metric_noise(_last_half(study, record))
        for record, reached in found
        if reached.verdict == "reached"
    ]
    return Effect(
        records=tuple(record for record, _ in found),
        plateau_epochs=tuple(float(each.epoch) for _, each in found if each.epoch is not None),
        unfinished_epochs=tuple(
            record.epochs for record, each in found if each.verdict == "not_yet"
        ),
        noises=tuple(noise for noise in noises if noise is not None),
    )


def effects(study: Study) -> tuple[Effect, ...]:
    """What each batch size of a sweep does, at the rate that is shown, in ascending order."""
    return tuple(
        effect_of(study, cell.ended_well) for cell in chosen_cells(study) if cell.ended_well
    )


def effect_sentences(study: Study) -> dict[str, str]:
    """One sentence on each effect that a sweep has shown: "gap", "epochs", "noise"."""
    found = effects(study)
    said = {
        "gap": gap_text(study, found),
        "epochs": plateau_text(study, found),
        "noise": noise_text(study, found),
    }
    return {name: sentence for name, sentence in said.items() if sentence is not None}


def gap_text(study: Study, found: Sequence[Effect]) -> str | None:
    """The gap of the smallest and of the largest batch size; None: it is known of less than two."""
    split, metric = held_out_split(study), study.workload.metrics[0].name
    if split is None:
        return None
    gaps = [(effect, final_gaps(effect.records, split, metric)) for effect in found]
    known = [(effect, gap.mean) for effect, gap in gaps if gap is not None]
    if len(known) < 2:
        return None
    (small, low), (large, high) = known[0], known[-1]
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
        (effect.batch_size, max(effect.plateau_epochs))
        for effect in found
        if effect.plateau_epochs and not effect.unfinished_epochs
    ]
    unfinished = [effect.batch_size for effect in found if effect.unfinished_epochs]
    parts = []
    if reached:
        parts.append(
            plural(
                "{n} epoch is enough for {names}.",
                "{n} epochs are enough for {names}.",
                int(max(epochs for _, epochs in reached)),
                names=batch_sizes_text(study, [size for size, _ in reached]),
            )
        )
    if unfinished:
        parts.append(
            text(
                "Still improving at the end: {names}. More epochs may change the order.",
                names=batch_sizes_text(study, unfinished),
            )
        )
    return " ".join(parts) or None


def noise_text(study: Study, found: Sequence[Effect]) -> str | None:
    """The noise of the smallest and of the largest batch size; None: known of less than two."""
    known = [(effect, fmean(effect.noises)) for effect in found if effect.noises]
    if len(known) < 2:
        return None
    (small, low), (large, high) = known[0], known[-1]
    return text(
        "From one epoch to the next the {metric} jumps by about {low} at {small} and {high} at "
        "{large}.",
        metric=split_label(deciding_split(study), study.workload.metrics[0].name),
        low=number_text(low, ".2g"),
        small=batch_text(study, small.batch_size),
        high=number_text(high, ".2g"),
        large=batch_text(study, large.batch_size),
    )


def _last_half(study: Study, record: TrialRecord) -> list[float]:
    """The deciding metric at the ends of the later half of the epochs."""
    values = record.at_epoch_ends(deciding_split(study), study.workload.metrics[0].name)
    last = max(values, default=0)
    return [value for epoch, value in sorted(values.items()) if epoch > last / 2]
