"""Palette: which colour, dash and point shape stands for which batch size, or for its part."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Literal

from batchlab.words.catalogue import text

Part = Literal["named", "yours", "usual", "other"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """How one batch size is drawn, everywhere in the report.

    Attributes:
        batch_size: examples per step.
        label: its name on the page, "4096 (full)" for full batch.
        light: colour on a white ground, as #RRGGBB.
        dark: colour on a dark ground.
        dash: lengths of dashes and gaps of its lines in pixels; empty: a solid line.
        shape: the Vega name of its points' shape.
        part: the part it plays in an answer, where that and not its size is what colours tell.
    """

    batch_size: int
    label: str
    light: str
    dark: str
    dash: tuple[int, ...]
    shape: str
    part: Part | None = None

    @property
    def css_name(self) -> str:
        """The CSS variable that holds its colour in the reader's colour scheme."""
        return f"--batch-{self.part or self.batch_size}"


# Three batch sizes keep their colours in every report: 64 orange, 256 green, 1024 lilac.
_FIXED = {64: ("#D06000", "#FF9A3D"), 256: ("#0E8A5F", "#2FC08A"), 1024: ("#A274D6", "#C9A8F5")}
_FULL = ("#3F4650", "#E3E7EC")
# Found by search: every pair differs by at least 16 (CIE 1976) for normal sight and under the
# protanopia, deuteranopia and tritanopia of Machado et al. 2009; contrast with the ground >= 3.5.
_OTHERS = (
    ("#2135C2", "#676C9E"),
    ("#991B14", "#B25436"),
    ("#02607F", "#23877F"),
    ("#460D50", "#CC42DD"),
)
_MARKS: dict[int | str, tuple[tuple[int, ...], str]] = {
    64: ((), "circle"),
    256: ((7, 3), "square"),
    1024: ((2, 2), "triangle-up"),
    "full": ((9, 3, 2, 3), "diamond"),
}
_OTHER_DASHES = ((4, 2), (12, 3), (2, 4), (6, 2, 2, 2), (12, 3, 4, 3))
_OTHER_SHAPES = ("triangle-down", "cross", "triangle-right", "triangle-left")


def looks(batch_sizes: Iterable[int], *, n_train: int) -> tuple[Look, ...]:
    """How each batch size is drawn, in ascending order; no two share colour, dash and shape.

    Args:
        batch_sizes: the batch sizes of a study; repeated ones count once.
        n_train: examples in the training set: that batch size is the full batch.
    """
    found: list[Look] = []
    n_others = 0
    for batch_size in sorted(set(batch_sizes)):
        full = batch_size == n_train
        if batch_size in _FIXED or full:
            light, dark = _FIXED.get(batch_size, _FULL)
            dash, shape = _MARKS[batch_size if batch_size in _FIXED else "full"]
        else:
            light, dark = _OTHERS[n_others % len(_OTHERS)]
            # Five dashes and four colours have no common divisor: 20 batch sizes differ.
            dash = _OTHER_DASHES[n_others % len(_OTHER_DASHES)]
            # As many shapes as colours: moved on by one at each turn, so that a batch size of the
            # same colour has another shape.
            turn = n_others // len(_OTHERS)
            shape = _OTHER_SHAPES[(n_others + turn) % len(_OTHER_SHAPES)]
            n_others += 1
        found.append(
            Look(
                batch_size=batch_size,
                label=_label(batch_size, n_train),
                light=light,
                dark=dark,
                dash=dash,
                shape=shape,
            )
        )
    return tuple(found)


# Light, dark, dash and shape.
_PARTS: dict[Part, tuple[str, str, tuple[int, ...], str]] = {
    "named": ("#0E8A5F", "#2FC08A", (), "diamond"),
    "yours": ("#D06000", "#FF9A3D", (7, 3), "square"),
    "usual": ("#2135C2", "#7C86FF", (2, 2), "circle"),
    "other": ("#66707C", "#98A3B0", (2, 2), "circle"),
}


def part_looks(
    batch_sizes: Iterable[int],
    *,
    n_train: int,
    named: int | None,
    yours: int,
    usual: Container[int] = (),
) -> tuple[Look, ...]:
    """How each batch size is drawn by its part in an answer, in ascending order.

    Args:
        batch_sizes: the batch sizes of a study; repeated ones count once.
        n_train: examples in the training set: that batch size is the full batch.
        named: what the answer names; None: nothing.
        yours: the batch size of the reference.
        usual: those that people take without measuring.
    """
    found = []
    for batch_size in sorted(set(batch_sizes)):
        part: Part = "usual" if batch_size in usual else "other"
        if batch_size in (named, yours):
            part = "named" if batch_size == named else "yours"
        light, dark, dash, shape = _PARTS[part]
        found.append(
            Look(
                batch_size=batch_size,
                label=_label(batch_size, n_train),
                light=light,
                dark=dark,
                dash=dash,
                shape=shape,
                part=part,
            )
        )
    return tuple(found)


def _label(batch_size: int, n_train: int) -> str:
    return text("{n} (full)", n=batch_size) if batch_size == n_train else str(batch_size)
