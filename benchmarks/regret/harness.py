"""What both records of regret share: the options of their commands, and the file of answers."""

from __future__ import annotations

import argparse
import gzip
import json
import math
from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from .situation import PROFILES


def arguments_of(
    about: str,
    *,
    grids: Path,
    later_grids: Path | None = None,
    budgets: Sequence[float],
    draws: int,
    processes: int,
    out: Path,
) -> argparse.Namespace:
    """What was asked for on the command line; the record's own values where nothing was.

    Args:
        about: one line on the command.
        grids: the folder of the recorded workloads; all of these are asked about by default.
        later_grids: of further ones, asked about where they are named.
        budgets: in the record's unit.
        draws: splits of the seeds.
        processes: side by side.
        out: the file of answers.
    """
    recorded = _names_in(grids)
    later = [] if later_grids is None else _names_in(later_grids)
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--workloads", nargs="+", choices=recorded + later, default=recorded)
    parser.add_argument("--profiles", nargs="+", choices=PROFILES, default=PROFILES)
    parser.add_argument("--budgets", nargs="+", type=float, default=budgets)
    parser.add_argument("--draws", type=int, default=draws)
    parser.add_argument("--processes", type=int, default=processes)
    parser.add_argument("--out", type=Path, default=out)
    return parser.parse_args()


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


def _names_in(grids: Path) -> list[str]:
    return sorted(path.name.removesuffix(".csv.gz") for path in grids.glob("*.csv.gz"))


def _plain(value: object) -> object:
    """Three digits of a number, None for what JSON has no number for."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.3g}") if math.isfinite(value) else None
