"""Paired: of how many of the same held-out examples one batch size is right, beside another."""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.laws.paired_examples import Right, paired_difference
from batchlab.records.estimate import Estimate
from batchlab.records.evaluation import Split
from batchlab.report.parts.figure import list_text
from batchlab.report.parts.held_out import deciding_split, held_out_split
from batchlab.report.parts.sentence import Sentence
from batchlab.report.parts.term_text import term_text
from batchlab.report.sweep.cells import Cell
from batchlab.report.sweep.evidence import Evidence
from batchlab.words.catalogue import text
from batchlab.words.message import N_


def paired_sentences(evidence: Evidence) -> Iterator[Sentence]:
    """Every batch size on test data beside the best on validation data; none without these."""
    split = held_out_split(evidence.study)
    # Of the data by which the best is chosen it looks better than it is.
    if split is None or split == deciding_split(evidence.study) or len(evidence.cells) < 2:
        return
    ranked = evidence.ranked(evidence.final(deciding_split(evidence.study)))
    if not ranked:
        return
    best = ranked[0]
    right = {cell.batch_size: _right(cell, split, evidence.metric) for cell in evidence.cells}
    others = [cell for cell in evidence.cells if cell is not best]
    # So that all intervals hold together 95 times in 100.
    confidence = 1 - 0.05 / len(others)
    more = {
        cell.batch_size: paired_difference(
            right[best.batch_size], right[cell.batch_size], confidence=confidence
        )
        for cell in others
        if _are_alike([*right[best.batch_size], *right[cell.batch_size]])
    }
    known = {size: each for size, each in more.items() if each.low is not None}
    if known:
        yield Sentence(topic=N_("held-out examples"), text=_told(evidence, best, known, split))


def _right(cell: Cell, split: Split, metric: str) -> list[Right]:
    """Which examples each seed was right about at its end; those without are left out."""
    return [
        score.right.right
        for record in cell.ended_well
        for score in record.evaluations[-1].scores
        if (score.split, score.metric) == (split, metric) and score.right is not None
    ]


def _are_alike(rights: list[Right]) -> bool:
    """Whether all were asked about as many examples."""
    return len({len(right) for right in rights}) == 1


def _told(evidence: Evidence, best: Cell, more: dict[int, Estimate], split: Split) -> str:
    parts = [
        text(
            "{more:.2f} % more than {size} ({low:.2f} to {high:.2f})",
            size=size,
            more=100 * (each.estimate or 0.0),
            low=100 * (each.low or 0.0),
            high=100 * (each.high or 0.0),
        )
        for size, each in more.items()
    ]
    alike = [size for size, each in more.items() if (each.low or 0.0) <= 0.0 <= (each.high or 0.0)]
    said = text(
        "Of the same {n:,} {split} examples {best}, the best on {chosen_on} data, is right about "
        "{parts}. These intervals (95 %) hold for other seeds and other examples too.",
        best=evidence.name(best),
        chosen_on=term_text(deciding_split(evidence.study)),
        n=next(iter(more.values())).n,
        split=term_text(split),
        parts=", ".join(parts),
    )
    if not alike:
        return said
    return text("{said} Not told apart from it: {sizes}.", said=said, sizes=list_text(alike))
