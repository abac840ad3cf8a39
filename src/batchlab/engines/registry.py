"""The registry of engines: every row with what it can do; listing them loads none."""

from __future__ import annotations

import batchlab.engines.rows as _ROWS
from batchlab.engines.engine_row import EngineRow
from batchlab.registry import row_module, row_names


def engine_rows() -> dict[str, EngineRow]:
    """Every engine by its name; none of them is imported."""
    rows = {name: row_module(_ROWS, name).ROW for name in row_names(_ROWS)}
    return {row.name: row for row in rows.values()}
