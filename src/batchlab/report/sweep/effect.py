"""Effect: what a batch size does to a training: the epochs it needs, the noise of its metric."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from batchlab.laws.metric_noise import metric_noise
from batchlab.records.study import Study
from batchlab.records.trial import TrialRecord
from batchlab.report.parts.quantity_text import label_text, quantity_text
from batchlab.report.parts.term_text import split_label, term_text
from batchlab.report.sweep.cells import Cell, chosen_cells, deciding_split, held_out_split
from batchlab.report.sweep.evidence import batch_sizes_text, batch_text
from batchlab.report.sweep.plateaus import Plateaus
from batchlab.words.catalogue import number_text, plural, text


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """What one batch size does to a training, seed by seed.

    Attributes:
        cell: its trials that are shown.
        plateau_epochs: of the seeds that reached their plateau, after how many epochs.
        unfinished_epochs: of those that still improved, how many epochs they had.
        noises: the metric's standard deviation around its trend over the last half of the epochs,
            of the seeds with enough evaluations there that reached their plateau.
    """

    cell: Cell
    plateau_epochs: tuple[float, ...]
    unfinished_epochs: tuple[float, ...]
    noises: tuple[float, ...]


def effects(study: Study, plateaus: Plateaus) -> tuple[Effect, ...]:
    """The effect of every batch size that is shown, in ascending order."""
    return tuple(_effect(study, cell, plateaus) for cell in chosen_cells(study))


def _effect(study: Study, cell: Cell, plateaus: Plateaus) -> Effect:
    found = [(record, plateaus.of(record)) for record in cell.ended_well]
    # The bends of a curve that still improves, or may, are no noise.
    flat = [record for record, plateau in found if plateau.verdict == "reached"]
    noises = (metric_noise(_last_half(study, record)) for record in flat)
    return Effect(
        cell=cell,
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


def effect_sentences(study: Study, plateaus: Plateaus) -> dict[str, str]:
    """One sentence on each effect that was seen: "gap", "epochs", "noise"."""
    found = effects(study, plateaus)
    said = {
        "gap": _gap(study, found),
        "epochs": _epochs(study, found),
        "noise": _noise(study, found),
    }
    return {name: sentence for name, sentence in said.items() if sentence is not None}


def _ends(known: list[tuple[Effect, float]]) -> tuple[Effect, float, Effect, float] | None:
    """The smallest and the largest batch size with a value."""
    if len(known) < 2:
        return None
    (small, low), (large, high) = known[0], known[-1]
    return small, low, large, high


def _gap(study: Study, found: tuple[Effect, ...]) -> str | None:
    split, metric = held_out_split(study), study.workload.metrics[0].name
    if split is None:
        return None
    gaps = ((effect, effect.cell.final_gap(split, metric)) for effect in found)
    ends = _ends([(effect, gap.mean) for effect, gap in gaps if gap is not None])
    if ends is None:
        return None
    small, low, large, high = ends
    return text(
        "Training minus {split} {metric}: {low} at {small}, {high} at {large}.",
        split=term_text(split),
        metric=label_text(metric),
        low=quantity_text("generalization_gap", low),
        small=batch_text(study, small.cell.batch_size),
        high=quantity_text("generalization_gap", high),
        large=batch_text(study, large.cell.batch_size),
    )


def _epochs(study: Study, found: tuple[Effect, ...]) -> str | None:
    reached = [
        (effect, max(effect.plateau_epochs))
        for effect in found
        if effect.plateau_epochs and not effect.unfinished_epochs
    ]
    unfinished = [effect for effect in found if effect.unfinished_epochs]
    parts = []
    if reached:
        most = max(epochs for _, epochs in reached)
        names = batch_sizes_text(study, [effect.cell.batch_size for effect, _ in reached])
        parts.append(
            plural(
                "{n} epoch is enough for {names}.",
                "{n} epochs are enough for {names}.",
                int(most),
                names=names,
            )
        )
    if unfinished:
        names = batch_sizes_text(study, [effect.cell.batch_size for effect in unfinished])
        still = "Still improving at the end: {names}. More epochs may change the order."
        parts.append(text(still, names=names))
    return " ".join(parts) or None


def _noise(study: Study, found: tuple[Effect, ...]) -> str | None:
    ends = _ends([(effect, fmean(effect.noises)) for effect in found if effect.noises])
    if ends is None:
        return None
    small, low, large, high = ends
    return text(
        "From one epoch to the next the {metric} jumps by about {low} at {small} and {high} at "
        "{large}.",
        metric=split_label(deciding_split(study), study.workload.metrics[0].name),
        low=number_text(low, ".2g"),
        small=batch_text(study, small.cell.batch_size),
        high=number_text(high, ".2g"),
        large=batch_text(study, large.cell.batch_size),
    )
