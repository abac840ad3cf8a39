"""What the records of regret share: the file of answers, and tables."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent
# The first were recorded for choosing the constants of the advice. The constants stood before the
# later ones were recorded.
GRIDS, LATER_GRIDS = (sorted((_FOLDER / name).glob("*.csv.gz")) for name in ("whole", "later"))


def name_of(path: Path) -> str:
    """The name of a grid's workload."""
    return path.name.removesuffix(".csv.gz")


def path_of(workload: str) -> Path:
    """Where a workload was recorded."""
    return next(path for path in GRIDS + LATER_GRIDS if name_of(path) == workload)


def write_answers(out: Path, answers: Sequence[Any], **about: object) -> None:
    """Write the answers, one row each, after what has to be known about them.

    Args:
        out: the file, compressed if its name ends so.
        answers: of one dataclass; its fields are the columns.
        about: further fields of the document.
    """
    document = {
        **about,
        "columns": [each.name for each in fields(answers[0])],
        "answers": [[_plain(value) for value in astuple(each)] for each in answers],
    }
    text = json.dumps(document, separators=(",", ":")) + "\n"
    if out.suffix == ".gz":
        out.write_bytes(gzip.compress(text.encode(), mtime=0))
    else:
        out.write_text(text)


def quantile(values: Iterable[float], fraction: float) -> float:
    """The quantile, infinite values included; a value that was observed, never one between."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(fraction * len(ordered)) - 1))]


def both(regrets: Sequence[float]) -> str:
    """The median and the 90th percentile."""
    return f"{percent(quantile(regrets, 0.5))} / {percent(quantile(regrets, 0.9))}"


def percent(value: float) -> str:
    """A fraction in whole per cent; infinite: it fails."""
    return "fails" if math.isinf(value) else f"{round(100 * value)} %"


def head(*cells: str) -> list[str]:
    """The two lines above a table's rows."""
    return [row(*cells), "|" + "---|" * len(cells)]


def row(*cells: str) -> str:
    """One line of a table."""
    return "| " + " | ".join(cells) + " |"


def _plain(value: object) -> object:
    """Three digits of a number, None for what JSON has no number for."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.3g}") if math.isfinite(value) else None
