"""AlignedText: rows of cells as columns of a terminal, however narrow it is."""

from __future__ import annotations

from collections.abc import Sequence

from batchlab.report.parts.wrapped_text import wrapped_lines

_BETWEEN = "  "
# A column of words is not made narrower than its longest word, or this.
_NARROWEST = 9
# So many columns stay side by side, their words wrapped.
_FEW = 3


def aligned_text(
    rows: Sequence[Sequence[str]], *, is_number: Sequence[bool], width: int | None
) -> str:
    """The rows as lines: numbers to the right, words to the left.

    Where they are too wide, headers are wrapped, and words where there are few columns. What is
    still too wide becomes several tables below each other, each with the columns that tell its
    rows apart.

    Args:
        rows: the header, then the others; one cell per column.
        is_number: for each column; numbers are not wrapped.
        width: in characters; None: as wide as it gets.
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(is_number))]
    if width is None or _total(widths) <= width:
        return "\n".join(_lines(rows, widths, is_number))
    by_header = _narrowed(rows, widths, is_number=[True] * len(widths), width=width)
    if _total(by_header) <= width:
        return "\n".join(_lines(rows, by_header, is_number))
    n_keys = _n_keys(rows)
    if len(widths) <= max(_FEW, n_keys + 1):
        narrow = _narrowed(rows, widths, is_number=is_number, width=width)
        return "\n".join(_lines(rows, narrow, is_number))
    return "\n\n".join(
        aligned_text(
            [[row[i] for i in group] for row in rows],
            is_number=[is_number[i] for i in group],
            width=width,
        )
        for group in _groups(by_header, width, n_keys=n_keys)
    )


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_BETWEEN) * (len(widths) - 1)


def _narrowed(
    rows: Sequence[Sequence[str]], widths: Sequence[int], *, is_number: Sequence[bool], width: int
) -> list[int]:
    """Columns made narrower, the widest first, as far as is needed; numbers are not wrapped."""
    least = [
        _least(rows, i, is_number=number, wide=wide)
        for i, (wide, number) in enumerate(zip(widths, is_number, strict=True))
    ]
    narrow = list(widths)
    while _total(narrow) > width:
        i = max(range(len(narrow)), key=lambda i: narrow[i] - least[i] and narrow[i])
        if narrow[i] == least[i]:
            break
        narrow[i] -= 1
    return narrow


def _least(rows: Sequence[Sequence[str]], i: int, *, is_number: bool, wide: int) -> int:
    header, *cells = (row[i] for row in rows)
    if is_number:
        return min(wide, max([_longest_piece(header), *map(len, cells)]))
    return min(wide, max(_NARROWEST, *map(_longest_piece, (header, *cells))))


def _longest_piece(cell: str) -> int:
    return max((len(line) for line in wrapped_lines(cell, 1)), default=0)


def _n_keys(rows: Sequence[Sequence[str]]) -> int:
    """How many of the first columns it takes to tell the rows apart; 1 where they never do."""
    for n in range(1, len(rows[0])):
        if len({tuple(row[:n]) for row in rows}) == len(rows):
            return n
    return 1


def _groups(widths: Sequence[int], width: int, *, n_keys: int) -> list[list[int]]:
    """Which columns stand together, each time behind those that tell the rows apart."""
    keys = list(range(n_keys))
    groups = [keys]
    for i in range(n_keys, len(widths)):
        if len(groups[-1]) > n_keys and _total([widths[j] for j in (*groups[-1], i)]) > width:
            groups.append(keys)
        groups[-1] = [*groups[-1], i]
    return groups


def _lines(
    rows: Sequence[Sequence[str]], widths: Sequence[int], is_number: Sequence[bool]
) -> list[str]:
    lines = []
    for row in rows:
        cells = [
            wrapped_lines(cell, wide) if len(cell) > wide else [cell]
            for cell, wide in zip(row, widths, strict=True)
        ]
        for n in range(max(map(len, cells))):
            parts = [cell[n] if n < len(cell) else "" for cell in cells]
            lines.append(
                _BETWEEN.join(
                    part.rjust(wide) if number else part.ljust(wide)
                    for part, wide, number in zip(parts, widths, is_number, strict=True)
                ).rstrip()
            )
    return lines
