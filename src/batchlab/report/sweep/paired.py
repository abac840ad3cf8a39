"""Paired: of how many of the same held-out examples one batch size is right, beside another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from batchlab.laws.scatter import Right, paired_difference
from batchlab.records.estimate import Estimate
from batchlab.records.trial import Split
from batchlab.report.parts.batch_text import batch_sizes_text, batch_text
from batchlab.report.parts.held_out import deciding_split, held_out_split
from batchlab.report.parts.sentence import Sentence
from batchlab.report.parts.table import Column, Table
from batchlab.report.parts.term_text import term_text
from batchlab.report.sweep.cells import Cell
from batchlab.report.sweep.evidence import Evidence
from batchlab.words.catalogue import number_text, text

_TOPIC = "held-out examples"
_AHEAD = "is right more often than {sizes}"
_BEHIND = "is right less often than {sizes}"
_ALIKE = "cannot be told from {sizes}"
_SHARE = "percent"


@dataclass(frozen=True, kw_only=True, slots=True)
class Paired:
    """The best batch size on validation data beside each other one, on the same held-out examples.

    Attributes:
        best: the best on validation data.
        split: the examples are of.
        n: how many examples.
        more: of each other batch size, the share of examples that `best` is right about beyond
            it, with its interval; below zero it is behind.
    """

    best: Cell
    split: Split
    n: int
    more: Mapping[int, Estimate]

    @classmethod
    def of(cls, evidence: Evidence) -> Paired | None:
        """Every batch size on test data beside the best on validation data; None without these."""
        split = held_out_split(evidence.study)
        # Of the data by which the best is chosen it looks better than it is.
        if split is None or split == deciding_split(evidence.study) or len(evidence.cells) < 2:
            return None
        ranked = evidence.ranked(evidence.final(deciding_split(evidence.study)))
        if not ranked:
            return None
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
        if not known:
            return None
        return cls(best=best, split=split, n=next(iter(known.values())).n, more=known)


def paired_sentences(evidence: Evidence) -> Iterator[Sentence]:
    """Which batch sizes the best one is told apart from; none where that is not known."""
    paired = Paired.of(evidence)
    if paired is None:
        return
    ahead = [size for size, each in paired.more.items() if (each.low or 0.0) > 0]
    behind = [size for size, each in paired.more.items() if (each.high or 0.0) < 0]
    alike = [size for size in paired.more if size not in (*ahead, *behind)]
    found = [
        text(words, sizes=batch_sizes_text(evidence.study, sizes))
        for words, sizes in ((_AHEAD, ahead), (_BEHIND, behind), (_ALIKE, alike))
        if sizes
    ]
    yield Sentence(
        topic=_TOPIC,
        text=text(
            "On the same {n:,} {split} examples, {best} (the best on {chosen_on} data) {found}.",
            n=paired.n,
            split=term_text(paired.split),
            best=evidence.name(paired.best),
            chosen_on=term_text(deciding_split(evidence.study)),
            found="; ".join(found),
        ),
    )


def paired_table(evidence: Evidence) -> Table:
    """How many more of the same examples the best one is right about; no rows: not known."""
    paired = Paired.of(evidence)
    more = {} if paired is None else paired.more
    return Table(
        caption=text(
            "How many more of the same examples the best one is right about than another; the "
            "intervals (95 %) hold for other seeds and examples too"
        ),
        columns=(
            Column(key="batch_size", quantity="batch", label=text("than")),
            Column(key="more", quantity="batch", label=text("more right")),
            Column(key="low", quantity="batch", label=text("at least")),
            Column(key="high", quantity="batch", label=text("at most")),
        ),
        rows=tuple(
            (
                batch_text(evidence.study, size),
                *(number_text(value, _SHARE) for value in (each.estimate, each.low, each.high)),
            )
            for size, each in more.items()
        ),
    )


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
