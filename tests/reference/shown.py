"""What a figure holds, by the names of its fields."""

from typing import Any

from batchlab.report.figure import Figure


def rows_of(figure: Figure, **wanted: object) -> list[dict[str, Any]]:
    """The rows of a figure's first view that have these fields; `panel` is the key of a chart."""
    drawn = [
        {"panel": panel.key, **row}
        for panel in next(iter(figure.views.values()), [])
        for row in panel.rows
    ]
    return [row for row in drawn if all(row.get(name) == value for name, value in wanted.items())]
