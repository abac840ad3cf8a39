"""The registry of shapes: every row by its name, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import batchlab.launching.shapes as _ROWS
from batchlab.errors import UsageError
from batchlab.launching.shape import Shape
from batchlab.registry import row_module, row_names


def shape_rows() -> dict[str, Shape]:
    """Every shape of progress by its name, the one that is tried first coming first."""
    found = {name: row_module(_ROWS, name).SHAPE for name in row_names(_ROWS)}
    return dict(sorted(found.items(), key=lambda row: row[1].place))


@cache
def counts_updates(shape: str) -> bool:
    """Whether the steps of a shape are optimizer updates, not batches; those of a pattern are.

    Args:
        shape: its name, or "pattern".
    """
    rows = shape_rows()
    return shape not in rows or rows[shape].counts == "updates"


def chosen_shapes(names: Sequence[str]) -> dict[str, Shape]:
    """The shapes with these names, in their own order.

    Raises:
        UsageError: there is none of that name.
    """
    rows = shape_rows()
    for name in names:
        if name not in rows:
            raise UsageError(f"progress shape {name!r}: expected one of {', '.join(rows)}")
    return {name: row for name, row in rows.items() if name in names}
