"""Effect text: one sentence on each effect of batch size, or why the runs do not show it."""

from __future__ import annotations

from collections.abc import Container, Mapping
from statistics import fmean

from batchlab.advice.advice import Advice
from batchlab.records.study import Study
from batchlab.report.advice.effects import Effects
from batchlab.report.advice.objective_words import target_text
from batchlab.report.parts.batch_text import batch_sizes_text, batch_text
from batchlab.report.parts.effect_text import gap_text, noise_text, plateau_text
from batchlab.report.parts.held_out import deciding_split, final_gaps, held_out_split
from batchlab.report.parts.quantity_text import label_text, quantity_text
from batchlab.report.parts.term_text import split_label, term_text
from batchlab.words.catalogue import number_text, text


def effect_sentences(advice: Advice, study: Study, effects: Effects) -> dict[str, str]:
    """One sentence on each of "epochs", "noise" and "gap".

    Args:
        advice: the answer.
        study: its trials.
        effects: what these show.
    """
    return {
        "epochs": _epochs(advice, study, effects),
        "noise": _noise(study, effects),
        "gap": _gap(study, effects),
    }


def untold_sentences(effects: Effects, said: Mapping[str, str], drawn: Container[str]) -> list[str]:
    """Those that stand under no picture; one for all of them where nothing is known.

    Args:
        effects: what the runs show.
        said: the sentences by the name of their effect.
        drawn: the names of the effects that have a picture.
    """
    if effects.shows_nothing:
        return [text("The runs of this study ended too early to show it.")]
    return [sentence for name, sentence in said.items() if name not in drawn]


def _epochs(advice: Advice, study: Study, effects: Effects) -> str:
    if advice.target is None:
        return plateau_text(study, effects.flat) or text(
            "The runs are too short to tell after how many epochs they stop improving."
        )
    target = target_text(advice.target)
    known = [(each, each.enough) for each in effects.to_target if each.enough is not None]
    missed = [each.batch_size for each in effects.to_target if each.enough is None]
    parts = []
    if known:
        (small, low), (large, high) = known[0], known[-1]
        parts = [
            text(
                "Epochs enough for {target}: about {low:epochs_to_target} at {small}, "
                "{high:epochs_to_target} at {large}.",
                target=target,
                low=low,
                small=batch_text(study, small.batch_size),
                high=high,
                large=batch_text(study, large.batch_size),
            )
            if small is not large
            else text(
                "Epochs enough for {target}: about {epochs:epochs_to_target} at {size}.",
                target=target,
                epochs=low,
                size=batch_text(study, small.batch_size),
            )
        ]
    if missed and known:
        names = batch_sizes_text(study, missed)
        parts.append(text("Not every run got there at {names}.", names=names))
    return " ".join(parts) or text(
        "At no batch size did every run get to {target}, so how many epochs are enough is open.",
        target=target,
    )


def _noise(study: Study, effects: Effects) -> str:
    metric = split_label(deciding_split(study), study.workload.metrics[0].name)
    said = noise_text(study, effects.noisy)
    if said is not None:
        return said
    if effects.has_schedule:
        return text(
            "The learning rate changes along these trainings, so how much the {metric} jumps at "
            "their end is not the doing of the batch size alone.",
            metric=metric,
        )
    if not effects.noisy:
        return text(
            "How much the {metric} jumps is not known. It shows where a training of twelve epochs "
            "or more has stopped improving.",
            metric=metric,
        )
    (only,) = effects.noisy
    return text(
        "From one epoch to the next the {metric} jumps by about {jump} at {size}. Of other batch "
        "sizes it is not known.",
        metric=metric,
        jump=number_text(fmean(only.noises), ".2g"),
        size=batch_text(study, only.batch_size),
    )


def _gap(study: Study, effects: Effects) -> str:
    metric, split = study.workload.metrics[0].name, held_out_split(study)
    said = gap_text(study, effects.ends)
    if said is not None:
        return said
    if split is None or not effects.ends:
        return text(
            "No training shows both the train and the held-out {metric} at its end, so the "
            "generalization gap is not known.",
            metric=label_text(metric),
        )
    (only,) = effects.ends
    gap = final_gaps(only.records, split, metric)
    assert gap is not None
    return text(
        "Training minus {split} {metric}: {gap} at {size}. No other batch size was trained to its "
        "end.",
        split=term_text(split),
        metric=label_text(metric),
        gap=quantity_text("generalization_gap", gap.mean),
        size=batch_text(study, only.batch_size),
    )
