"""What a batch size does to a training: the epochs it needs, the noise of its metric, its gap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from batchlab.laws.plateau import metric_noise
from batchlab.records.study import Study
from batchlab.records.trial import TrialRecord
from batchlab.report.cells import Cell, chosen_cells, deciding_split, held_out_split, plateaus_of
from batchlab.report.figure import Panel, Row, mark, size_rows
from batchlab.report.text import (
    batch_sizes_text,
    batch_text,
    label_text,
    quantity_text,
    split_label,
)
from batchlab.words.catalogue import listing, number_text, plural, term_text, text


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect(Cell):
    """What trials of a cell that ended well, at least one, show of their batch size.

    `noises` are the metric's standard deviation around its trend over the last half of the epochs,
    of the seeds with enough evaluations there that reached their plateau.
    """

    plateau_epochs: tuple[float, ...]  # of the seeds that reached their plateau
    unfinished_epochs: tuple[float, ...]  # of those that still improved, how many they had
    noises: tuple[float, ...]


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
        takes_rate=study.workload.takes_rate,
        plateau_epochs=tuple(float(each.epoch) for _, each in found if each.epoch is not None),
        unfinished_epochs=tuple(
            record.epochs for record, each in found if each.verdict == "not_yet"
        ),
        noises=tuple(noise for noise in noises if noise is not None),
    )


def effects(study: Study) -> tuple[Effect, ...]:
    """What each batch size of a sweep does, at the rate that is shown, in ascending order."""
    return tuple(
        effect_of(study, cell.ended_well)
        for cell in chosen_cells(study)
        if cell.ended_well and isinstance(cell.kind, int)
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


def ends_text(study: Study, known: Sequence[tuple[int, str]]) -> str:
    """The values of the smallest and the largest size: "3 at batch size 64 and 5 at full batch"."""
    ends = dict.fromkeys((known[0], known[-1]))
    return listing([text("{value} at {size}", value=v, size=batch_text(study, n)) for n, v in ends])


def of_runs_text(value: str, n: int) -> str:
    """A mean with how many runs it is of, "0.0131 (5 runs)"."""
    return plural("{value} ({n} run)", "{value} ({n} runs)", n, value=value)


def gap_text(study: Study, found: Sequence[Effect], *, alone: str | None = None) -> str | None:
    """The gap of the smallest and of the largest batch size, of one with what is said of one alone.

    None where it is not known, or of one batch size of which nothing is said.
    """
    split, metric = held_out_split(study), study.workload.metrics[0].name
    if split is None:
        return None
    gaps = [(effect.batch_size, effect.final_gap(split, metric)) for effect in found]
    known = [
        (size, of_runs_text(quantity_text("generalization_gap", fmean(gap)), len(gap)))
        for size, gap in gaps
        if gap
    ]
    message = "Training minus {split} {metric}: {ends}."
    values = {"split": term_text(split), "metric": label_text(metric)}
    return _of_ends(study, known, message, alone, values)


def noise_text(study: Study, found: Sequence[Effect], *, alone: str | None = None) -> str | None:
    """The noise of the smallest and of the largest batch size, as `gap_text`."""
    noisy = [effect for effect in found if effect.noises]
    known = [
        (each.batch_size, of_runs_text(number_text(fmean(each.noises), ".2g"), len(each.noises)))
        for each in noisy
    ]
    metric = split_label(deciding_split(study), study.workload.metrics[0].name)
    message = "From one epoch to the next the {metric} jumps by about {ends}."
    return _of_ends(study, known, message, alone, {"metric": metric})


def _of_ends(
    study: Study,
    known: Sequence[tuple[int, str]],
    message: str,
    alone: str | None,
    values: Mapping[str, str],
) -> str | None:
    if not known or (len(known) == 1 and alone is None):
        return None
    said = text(message, ends=ends_text(study, known), **values)
    return said if len(known) > 1 else f"{said} {alone}"


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
        message = "Still improving at the end: {names}."
        if len(found) > 1:
            message += " More epochs may change the order."
        parts.append(text(message, names=batch_sizes_text(study, unfinished)))
    return " ".join(parts) or None


def _last_half(study: Study, record: TrialRecord) -> list[float]:
    """The deciding metric at the ends of the later half of the epochs."""
    values = record.at_epoch_ends(deciding_split(study), study.workload.metrics[0].name)
    last = max(values, default=0)
    return [value for epoch, value in sorted(values.items()) if epoch > last / 2]


# ---- in charts, which a sweep and an advice draw alike


def _named(effect: Effect) -> Row:
    return {
        "batch_size": effect.batch_size,
        "learning_rate": effect.shown_rate,
        "epoch": effect.records[0].epochs,
    }


def effect_rows(effect: Effect, values: Sequence[float], **fields: str | None) -> Iterator[Row]:
    """What the seeds of an effect have."""
    if values:
        yield from size_rows({**_named(effect), **fields}, values)


def plateau_panel(found: Iterable[Effect], *, key: str) -> Panel:
    """The epochs to the plateau by batch size; more than they had of those that still improve."""
    rows: list[Row] = []
    for effect in found:
        rows += effect_rows(effect, effect.plateau_epochs)
        rows += [{**_named(effect), **mark("bound", each)} for each in effect.unfinished_epochs]
    return Panel(key, text("epochs until the plateau"), "epoch", tuple(rows))


def jumps_panel(study: Study, found: Iterable[Effect], *, key: str) -> Panel:
    """The noise of the metric by batch size."""
    what = split_label(deciding_split(study), study.workload.metrics[0].name)
    return Panel(
        key,
        text("jumps of {what} between evaluations", what=what),
        "metric_noise",
        tuple(row for effect in found for row in effect_rows(effect, effect.noises)),
        is_metric=True,
    )


def effect_notes(panels: Iterable[Panel]) -> Iterator[str]:
    """How the plateau and the jumps are read, where they are drawn."""
    drawn = {panel.quantity: panel for panel in panels if panel.has_marks}
    if "epoch" in drawn:
        yield text(
            "A training is at its plateau where more epochs are not expected to make it better by "
            "an amount that matters."
        )
        if any(row["kind"] == "bound" for row in drawn["epoch"].rows):
            yield text("↑: it still improved at its last epoch, so it needs more epochs than this.")
    if "metric_noise" in drawn:
        yield text(
            "The jumps are the standard deviation of the metric around its trend, over the last "
            "half of the epochs, of trainings that reached their plateau."
        )


def finals_panel(study: Study, found: Sequence[Effect], *, key: str) -> Panel:
    """The final train and held-out metric by batch size; of a script's study maybe one of them."""
    metric, held_out = study.workload.metrics[0].name, held_out_split(study)
    rows: list[Row] = []
    for effect in found:
        for split in ("train", held_out):
            if split is not None:
                rows += effect_rows(effect, effect.final(study, split), series=split)
    drawn = [term_text(name) for name in dict.fromkeys(str(row["series"]) for row in rows)]
    message = "final {metric}: {splits}"
    if len(drawn) == 2:
        message = "final {metric}: {train} (solid line), {split} (dashed)"
    named = {"train": drawn[0], "split": drawn[-1]} if drawn else {}
    title = text(message, metric=label_text(metric), splits=", ".join(drawn), **named)
    return Panel(key, title, metric, tuple(rows), is_metric=True)
