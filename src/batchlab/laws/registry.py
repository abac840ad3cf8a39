"""The registry of laws: every row, and all of them fitted to the same runs."""

from __future__ import annotations

import batchlab.laws.rows as _ROWS
from batchlab.laws.steps import FittedLaw, StepsLaw, StepsToTargetFit
from batchlab.registry import row_module, row_names


def law_rows() -> dict[str, StepsLaw]:
    """Every law of steps to target by its name, in the order of their places."""
    rows = {name: row_module(_ROWS, name).LAW for name in row_names(_ROWS)}
    return dict(sorted(rows.items(), key=lambda row: row[1].place))


def every_law(fit: StepsToTargetFit) -> tuple[FittedLaw, ...]:
    """Every law fitted to the observations of a fit; the first is the law that decisions use.

    Args:
        fit: of the law that decisions use.
    """
    return tuple(
        FittedLaw(name=name, law=law, found=law.fit(fit)) for name, law in law_rows().items()
    )
