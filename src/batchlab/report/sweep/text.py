"""Text: a study as plain text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from batchlab.records.study import Study
from batchlab.report.parts.held_out import deciding_split, held_out_split
from batchlab.report.parts.plateaus import plateaus_of
from batchlab.report.parts.quantity_text import label_text, quantity_text
from batchlab.report.parts.term_text import term_text
from batchlab.report.parts.wrapped_text import wrapped_text
from batchlab.report.sweep.cells import Cell, chosen_cells
from batchlab.report.sweep.claims import claim_sentences, claim_text
from batchlab.report.sweep.conclusion import conclusion
from batchlab.report.sweep.curves import mean_curve
from batchlab.report.sweep.effect import effect_sentences
from batchlab.report.sweep.evidence import Evidence
from batchlab.report.sweep.figure_looks import figure_looks
from batchlab.report.sweep.figures.learning_rate import rate_table
from batchlab.report.sweep.sentences import sentences
from batchlab.report.sweep.summary_table import summary_table
from batchlab.report.sweep.trial_ending import trial_counts
from batchlab.words.catalogue import text

BARS = "▁▂▃▄▅▆▇█"
CURVE_CHARACTERS = 24


def text_report(study: Study) -> str:
    """The report of a study as plain text: what was seen, small tables, curves, bad trials.

    Args:
        study: the study; trials that have not ended are shown as such.

    Returns:
        Lines as wide as the terminal, else 88, where words can be wrapped, ended by a newline.
    """
    parts = [part for part in _parts(study) if part]
    return "\n\n".join(parts) + "\n"


def sweep_headline(study: Study) -> str:
    """What is read first: which batch size did best, and how the trials ended."""
    said = (conclusion(study).headline, trial_counts(study))
    return "".join(f"{wrapped_text(each)}\n" for each in said)


def _parts(study: Study) -> Iterator[str]:
    found = conclusion(study)
    yield f"{study.workload.name}\n{wrapped_text(found.headline)}"
    yield wrapped_text(found.lead)
    if study.records:
        chosen = chosen_cells(study)
        table = summary_table(study, chosen)
        yield f"{wrapped_text(table.caption)}\n{table.to_text()}"
        yield _curves_text(study, chosen)
    if not study.records:
        return
    plateaus = plateaus_of(study)
    said = (*effect_sentences(study, plateaus).values(), *map(str, sentences(study, plateaus)))
    yield _listed(said)
    yield _listed(map(claim_text, claim_sentences(Evidence.of(study))))
    if len({record.trial.learning_rate for record in study.records}) > 1:
        rates = rate_table(study, deciding_split(study), study.workload.metrics[0].name)
        yield f"{wrapped_text(rates.caption)}\n{rates.to_text()}"
    yield wrapped_text(trial_counts(study))
    yield text("Command: {command}", command=study.command)


def _listed(said: Iterable[str]) -> str:
    return "\n".join(wrapped_text(f"- {each}") for each in said)


def _curves_text(study: Study, chosen: Sequence[Cell]) -> str:
    """The held-out metric along the epochs, one line a batch size, all on one scale."""
    metric = study.workload.metrics[0].name
    split = held_out_split(study) or "train"
    curves = {
        cell.batch_size: [
            point.spread.mean
            for point in mean_curve(cell, split, metric, None)
            if point.step and point.epoch == int(point.epoch)
        ]
        for cell in chosen
    }
    values = [value for curve in curves.values() for value in curve]
    if not values:
        return ""
    low, high = min(values), max(values)
    labels = {look.batch_size: look.label for look in figure_looks(study)}
    width = max(map(len, labels.values()))
    lines = [
        f"{labels[batch_size]:>{width}}  {_bars(curve, low, high)}  "
        f"{quantity_text(metric, curve[-1])}"
        for batch_size, curve in curves.items()
        if curve
    ]
    caption = text(
        "{split} {metric} by epoch, from {low} ({low_bar}) to {high} ({high_bar})",
        split=term_text(split),
        metric=label_text(metric),
        low=quantity_text(metric, low),
        low_bar=BARS[0],
        high=quantity_text(metric, high),
        high_bar=BARS[-1],
    )
    return "\n".join([wrapped_text(caption), *lines])


def _bars(curve: Sequence[float], low: float, high: float) -> str:
    last = len(curve) - 1
    n = min(len(curve), CURVE_CHARACTERS)
    shown = [curve[round(i * last / max(1, n - 1))] for i in range(n)]
    room = high - low or 1.0
    return "".join(BARS[round((value - low) / room * (len(BARS) - 1))] for value in shown)
