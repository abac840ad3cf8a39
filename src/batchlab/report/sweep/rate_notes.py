"""Rate notes: what a reader must know of the learning rates before comparing batch sizes."""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.records.study import Study
from batchlab.report.parts.held_out import deciding_split
from batchlab.report.parts.quantity_text import quantity_text
from batchlab.report.parts.term_text import term_text
from batchlab.report.sweep.cells import Cell
from batchlab.words.catalogue import text


def rate_notes(study: Study, chosen: tuple[Cell, ...]) -> Iterator[str]:
    """What a reader must know of the learning rates before comparing batch sizes."""
    rates = {record.trial.learning_rate for record in study.records}
    cells = {(record.trial.batch_size, record.trial.learning_rate) for record in study.records}
    if len(chosen) < 2:
        return
    pairs = ", ".join(
        f"{c.batch_size}: {quantity_text('learning_rate', c.learning_rate)}" for c in chosen
    )
    if len(rates) == 1:
        yield text(
            "All batch sizes share the learning rate {rate:learning_rate}: this compares them at "
            "one rate, not each at its best.",
            rate=next(iter(rates)),
        )
    elif len(cells) == len(study.batch_sizes):
        yield text(
            "Each batch size has one learning rate ({pairs}): this compares them as these rates "
            "have it, not each at its best.",
            pairs=pairs,
        )
    elif rates:
        yield text(
            "Each batch size is shown at the learning rate that was best for it on {split} data "
            "({pairs}); the best of several looks a little better there than it is.",
            split=term_text(deciding_split(study)),
            pairs=pairs,
        )
