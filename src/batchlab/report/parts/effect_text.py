"""Effect text: one sentence on each effect of batch size, from the smallest to the largest."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from batchlab.records.study import Study
from batchlab.report.parts.batch_text import batch_sizes_text, batch_text
from batchlab.report.parts.effect import Effect
from batchlab.report.parts.held_out import deciding_split, final_gaps, held_out_split
from batchlab.report.parts.quantity_text import label_text, quantity_text
from batchlab.report.parts.term_text import split_label, term_text
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
