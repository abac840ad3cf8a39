"""Palette: the color, dash and point shape of each batch size, or of its part in an answer."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from batchlab.records.run import PlanName
from batchlab.report.text import Kind
from batchlab.words.catalogue import term_text, text

Part = Literal["named", "yours", "usual", "other"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """The look of one batch size or plan, everywhere in the report."""

    kind: Kind
    label: str  # "4096 (full)" for full batch
    light: str  # color on a white ground, as #RRGGBB
    dark: str  # color on a dark ground
    dash: tuple[int, ...]  # lengths of its dashes and gaps in pixels; empty if solid
    shape: str  # the Vega name of its points' shape
    part: Part | None = None  # its part in an answer, if colors show that, not the size

    @property
    def css_name(self) -> str:
        """The CSS variable that holds its color in the reader's color scheme."""
        return f"--batch-{self.part or self.kind}"


SERIES_DASHES = ((1, 0), (6, 3), (1, 3), (9, 3, 2, 3))
"""Dashes of the series of a panel, in their order; the first is a solid line."""

# Light, dark, dash and shape of three batch sizes and the full batch, the same in every report:
# 64 orange, 256 green, 1024 lilac.
_FULL = ("#3F4650", "#E3E7EC", (9, 3, 2, 3), "diamond")
_FIXED: dict[int, tuple[str, str, tuple[int, ...], str]] = {
    64: ("#D06000", "#FF9A3D", (), "circle"),
    256: ("#0E8A5F", "#2FC08A", (7, 3), "square"),
    1024: ("#A274D6", "#C9A8F5", (2, 2), "triangle-up"),
}
# Found by search: every pair differs by at least 16 (CIE 1976) for normal sight and under the
# protanopia, deuteranopia and tritanopia of Machado et al. 2009; contrast with the ground >= 3.5.
_OTHERS = (
    ("#2135C2", "#676C9E"),
    ("#991B14", "#B25436"),
    ("#02607F", "#23877F"),
    ("#460D50", "#CC42DD"),
)
# Five dashes and four colors have no common divisor, so 20 batch sizes differ.
_OTHER_DASHES = ((4, 2), (12, 3), (2, 4), (6, 2, 2, 2), (12, 3, 4, 3))
_OTHER_SHAPES = ("triangle-down", "cross", "triangle-right", "triangle-left")
_PARTS: dict[Part, tuple[str, str, tuple[int, ...], str]] = {
    "named": ("#0E8A5F", "#2FC08A", (), "diamond"),
    "yours": ("#D06000", "#FF9A3D", (7, 3), "square"),
    "usual": ("#2135C2", "#7C86FF", (2, 2), "circle"),
    "other": ("#66707C", "#98A3B0", (2, 2), "circle"),
}


def looks(
    batch_sizes: Iterable[int], *, n_train: int, plans: Sequence[PlanName] = ()
) -> tuple[Look, ...]:
    """Return the looks of the batch sizes, in ascending order, and then of the plans.

    No two share color, dash and shape.
    """
    found: list[Look] = []
    n_others = 0
    sizes = sorted(set(batch_sizes))
    # A plan begins as its smallest batch size does, so its color must be far from that one's.
    unused = iter([look for size, look in _FIXED.items() if size not in sizes])
    fixed: dict[Kind, tuple[str, str, tuple[int, ...], str]] = {n_train: _FULL}
    fixed |= [*_FIXED.items(), *zip(plans, unused, strict=False)]
    for kind in [*sizes, *plans]:
        if kind in fixed:
            light, dark, dash, shape = fixed[kind]
        else:
            light, dark = _OTHERS[n_others % len(_OTHERS)]
            dash = _OTHER_DASHES[n_others % len(_OTHER_DASHES)]
            # There are as many shapes as colors. Shift the shapes by one per turn, so that batch
            # sizes of the same color get different shapes.
            turn = n_others // len(_OTHERS)
            shape = _OTHER_SHAPES[(n_others + turn) % len(_OTHER_SHAPES)]
            n_others += 1
        label = text("{n} (full)", n=kind) if kind == n_train else term_text(str(kind))
        found.append(Look(kind=kind, label=label, light=light, dark=dark, dash=dash, shape=shape))
    return tuple(found)


def drawn_looks(looks: Sequence[Look], rows: Iterable[Mapping[str, object]]) -> tuple[Look, ...]:
    """Return the looks of the batch sizes and plans that occur in rows of charts."""
    kinds = {look.kind for look in looks}
    drawn = {row["plan"] if row.get("plan") in kinds else row.get("batch_size") for row in rows}
    return tuple(look for look in looks if look.kind in drawn)


def part_looks(
    batch_sizes: Iterable[int],
    *,
    n_train: int,
    named: int | None,
    yours: int,
    usual: Container[int] = (),
) -> tuple[Look, ...]:
    """Return the looks of batch sizes by their part in an answer, in ascending order."""
    found = []
    for look in looks(batch_sizes, n_train=n_train):
        part: Part = "usual" if look.kind in usual else "other"
        if look.kind in (named, yours):
            part = "named" if look.kind == named else "yours"
        light, dark, dash, shape = _PARTS[part]
        found.append(replace(look, light=light, dark=dark, dash=dash, shape=shape, part=part))
    return tuple(found)
