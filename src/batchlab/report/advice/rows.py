"""Advice rows: estimates and runs as rows of a chart, and how far the chart must reach for them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from batchlab.advice.advice import Advice, Candidate, Configuration, RateTried
from batchlab.records.study import USUAL_SIZES, Study
from batchlab.report.advice.named_text import named_text
from batchlab.report.advice.reference_words import reference_words
from batchlab.report.parts.figure import Row
from batchlab.report.parts.palette import Look, Part, part_looks
from batchlab.report.parts.quantity_text import quantity_text
from batchlab.words.catalogue import text

_FRESH = ("value", "verify")


def advice_looks(advice: Advice, study: Study) -> tuple[Look, ...]:
    """How the batch sizes are drawn of which anything was measured: by their part."""
    sizes = [
        candidate.batch_size
        for candidate in advice.candidates
        if candidate.step_s.estimate is not None or candidate.peak_bytes is not None
    ]
    sizes += [tried.batch_size for tried in advice.tried]
    named = advice.named
    return part_looks(
        [*sizes, advice.reference.batch_size],
        n_train=study.workload.n_train,
        named=None if named is None else named.batch_size,
        yours=advice.reference.batch_size,
        usual=USUAL_SIZES,
    )


def label_of(looks: Iterable[Look], batch_size: int) -> str:
    """The name of a batch size on the page."""
    return next(look.label for look in looks if look.batch_size == batch_size)


def settings_label(name: str, batch_size: int, learning_rate: float) -> str:
    """A configuration's name and settings on an axis; a bar breaks the line."""
    rate = quantity_text("learning_rate", learning_rate)
    return f"{name}|{text('{size}, rate {rate}', size=batch_size, rate=rate)}"


def drawn_looks(looks: tuple[Look, ...], rows: Iterable[Row]) -> tuple[Look, ...]:
    """The looks of the batch sizes that `rows` draw: an axis needs no room for others."""
    drawn = {row["batch"] for row in rows if "batch" in row}
    return tuple(look for look in looks if look.label in drawn) or looks


def named_looks(advice: Advice, looks: Iterable[Look]) -> list[tuple[Look, str]]:
    """One look a part, with the part's name and its batch sizes: "usual: 16, 32, 128"."""
    together: dict[Part, list[Look]] = {}
    for look in looks:
        together.setdefault(look.part or "other", []).append(look)
    names: dict[Part, str] = {
        "named": named_text(advice),
        "yours": reference_words(advice).short,
        "usual": text("usual"),
        "other": text("others"),
    }
    return [
        (
            together[part][0],
            text(
                "{part}: {sizes}",
                part=name,
                sizes=", ".join(look.label for look in together[part]),
            ),
        )
        for part, name in names.items()
        if part in together
    ]


def candidate_kind(candidate: Candidate) -> str:
    """How a batch size's estimate is drawn: hollow where it was not trained itself."""
    return "open" if candidate.learning_rate is None else "point"


def has_rate_of(candidate: Candidate, named: Configuration) -> bool:
    """Whether a batch size's estimate is of the learning rate that is named with it."""
    rate = candidate.learning_rate
    return rate is not None and is_same_rate(rate, named.learning_rate)


def is_raced(advice: Advice) -> bool:
    """Whether single runs were all that the budget had for."""
    return advice.reason.code == "single_runs"


def single_runs(advice: Advice, candidate: Candidate) -> Iterator[RateTried]:
    """The runs that stand for a batch size, one by one.

    On seeds that had no part in choosing its rate; after a race those that met the target, at
    whatever rate, but for the reference as it is.
    """
    size = candidate.batch_size
    if not is_raced(advice):
        if candidate.learning_rate is not None:
            yield from runs_of(advice, size, candidate.learning_rate)
        return
    reference = advice.reference
    for tried in advice.tried:
        is_own = (size, tried.learning_rate) == (reference.batch_size, reference.learning_rate)
        if tried.batch_size == size and tried.steps_to_target is not None and not is_own:
            yield tried


def runs_of(advice: Advice, batch_size: int, learning_rate: float) -> Iterator[RateTried]:
    """The runs of a configuration: on seeds that did not choose its rate; after a race all.

    Args:
        advice: whose runs they are.
        batch_size: examples per step.
        learning_rate: its rate.
    """
    for tried in advice.tried:
        is_same = is_same_rate(tried.learning_rate, learning_rate)
        is_fresh = tried.purpose in _FRESH or is_raced(advice)
        if tried.batch_size == batch_size and is_same and is_fresh:
            yield tried


def is_same_rate(one: float, other: float) -> bool:
    """Whether two learning rates are one: a lattice of octaves leaves rounding errors."""
    return math.isclose(one, other, rel_tol=1e-9)


def runs_in_words(rows: Iterable[Row], quantity: str) -> list[str]:
    """Of batch sizes without an estimate, their single runs: "64: single runs of 4.1 s, 5 s"."""
    runs: dict[str, list[str]] = {}
    estimated = set()
    for row in rows:
        label = str(row.get("batch", ""))
        if row["kind"] == "run":
            runs.setdefault(label, []).append(quantity_text(quantity, row["mean"]))
        elif row["kind"] in ("point", "open"):
            estimated.add(label)
    return [
        text("{size}: single runs of {values}", size=label, values=", ".join(values))
        for label, values in runs.items()
        if label not in estimated
    ]


def kinds_of(rows: Iterable[Row]) -> frozenset[str]:
    """The kinds of rows that a chart has to draw."""
    return frozenset(str(row["kind"]) for row in rows)


def with_sides(rows: Iterable[Row], looks: tuple[Look, ...]) -> tuple[Row, ...]:
    """The rows with words told on which side of their batch size these stay inside the chart.

    Args:
        rows: each with words has the batch size of one of the looks.
        looks: of the batch sizes on the axis, ascending.
    """
    places: dict[object, int] = {look.batch_size: place for place, look in enumerate(looks)}
    edges = {0: "left", len(looks) - 1: "right"}

    def side(row: Row) -> str | None:
        place = places[row["batch_size"]]
        if row["kind"] == "named":  # in the middle of its mark where it has room
            return edges.get(place)
        return "left" if 2 * place < len(looks) else "right"

    return tuple({**row, "side": side(row)} if "text" in row else row for row in rows)
