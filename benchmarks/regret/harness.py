"""What both records of regret share: the question, the file of answers, tables."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from benchmarks.recorded.grid import GridHeader

from batchlab.advice.advice import Configuration, Option, Question
from batchlab.records.estimate import Estimate
from batchlab.records.trial import Target


def question_of(
    header: GridHeader,
    step_s: Mapping[int, Estimate],
    budget_s: float,
    *,
    learning_rate: float | None = None,
    target: Target | None = None,
    planned_epochs: float | None = None,
) -> Question:
    """Which batch size trains fastest, to the target or as well as the reference?

    Args:
        header: of the grid.
        step_s: what is known of the seconds per step, by batch size.
        budget_s: of the study.
        learning_rate: the user's own; None: the recorded one.
        target: None: the reference's end sets it.
        planned_epochs: of a whole training; None: any length.
    """
    own = header.reference_batch_size
    return Question(
        objective="time",
        metric=header.metric,
        better=header.better,
        target=target,
        target_origin="pilot" if target is None else "given",
        reference=Configuration(
            batch_size=own,
            micro_batch_size=own,
            learning_rate=learning_rate or header.reference_learning_rate,
        ),
        options=tuple(
            Option(
                batch_size=size,
                micro_batch_size=size,
                step_s=known,
                peak_bytes=None,
            )
            for size, known in step_s.items()
        ),
        n_train=header.n_train,
        budget_s=budget_s,
        planned_epochs=planned_epochs,
        at_most_epochs=planned_epochs,  # no more were recorded
    )


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
