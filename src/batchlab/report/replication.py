"""A replication: published numbers beside our own, in words, as JSON, and as a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from batchlab.records.replication import (
    Arm,
    Drawing,
    Form,
    JudgedClaim,
    PublishedRow,
    Range,
    Replication,
    Verdict,
)
from batchlab.report.figure import Figure, Panel, Row, interval_mark
from batchlab.report.page import downloads, render_page
from batchlab.report.palette import looks
from batchlab.report.table import Column, Section, Table, sections_text, table_of
from batchlab.report.text import (
    VERDICT_WORDS,
    Sentence,
    estimate_text,
    label_text,
    quantity_text,
    range_text,
    whole_sentence,
)
from batchlab.version import __version__
from batchlab.words.catalogue import plural, text
from batchlab.words.document import SCHEMA, plain

# What did not reproduce is read first.
_ORDER: tuple[Verdict, ...] = ("did_not_hold", "cannot_tell", "held")


# ---- JSON


class ReplicationDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A replication."""

    schema: int
    command: str
    batchlab: str
    command_line: str
    replication: str
    title: str
    paper: str
    form: Form
    created_at: str
    environment: dict[str, str]
    store: str
    report: str | None
    spent_s: float
    finished: bool
    protocol: tuple[str, ...]
    left_open: tuple[str, ...]
    smaller: tuple[str, ...]
    claims: tuple[JudgedClaim, ...]
    drawings: tuple[Drawing, ...]
    arms: tuple[Arm, ...]


def replication_document(found: Replication, *, report: Path | None) -> dict[str, Any]:
    """As plain values for JSON: times in seconds, unknown is null."""
    document = ReplicationDocument(
        schema=SCHEMA,
        command="replicate",
        batchlab=__version__,
        command_line=found.command,
        replication=found.name,
        title=found.title,
        paper=found.paper,
        form=found.form,
        created_at=found.created_at,
        environment=dict(found.environment),
        store=found.store,
        report=None if report is None else str(report),
        spent_s=found.spent_s,
        finished=found.is_finished,
        protocol=found.protocol,
        left_open=found.left_open,
        smaller=found.smaller,
        claims=found.claims,
        drawings=found.drawings,
        arms=found.arms,
    )
    made: dict[str, Any] = plain(document)
    return made


# ---- words


def replication_headline(found: Replication) -> str:
    """How many claims held, and of which form."""
    counts = [
        text("{n} {verdict}", n=n, verdict=text(VERDICT_WORDS[verdict]))
        for verdict in reversed(_ORDER)
        if (n := found.count(verdict))
    ]
    return text(
        "{name}, {form}: of {claims}, {counts}.",
        name=found.name,
        form=text(found.form),
        claims=plural("{n} claim", "{n} claims", len(found.claims)),
        counts=", ".join(counts),
    )


def _in_order(found: Replication) -> tuple[list[JudgedClaim], list[JudgedClaim]]:
    """What did not hold first, then what cannot be told; and what only the full form can tell."""
    claims = sorted(found.claims, key=lambda claim: _ORDER.index(claim.verdict))
    of_size = [claim for claim in claims if claim.why.code == "only_full_form"]
    return [claim for claim in claims if claim not in of_size], of_size


def _told(claim: JudgedClaim) -> str:
    """What was measured, what is published, and what decided."""
    said = text(
        "Here {value}, published {published}: {what}.",
        value=estimate_text(claim.quantity, claim.measured),
        published=_published_text(claim),
        what=claim.measured_as,
    )
    # A number that lies where the claim says needs no more words.
    return said if claim.verdict == "held" else f"{said} {whole_sentence(claim.why)}"


def _published_text(claim: JudgedClaim) -> str:
    said = text("no number")
    if claim.published is not None:
        said = _range_text(claim.quantity, claim.published)
    notes = [] if claim.is_verified else [text("unverified")]
    if claim.held_within not in (None, claim.published):
        assert claim.held_within is not None
        within = _range_text(claim.quantity, claim.held_within)
        notes.append(text("holds {within}", within=within))
    return f"{said} ({'; '.join(notes)})" if notes else said


def _range_text(quantity: str, found: Range) -> str:
    if found.low is None:
        return text("below {high}", high=quantity_text(quantity, found.high))
    if found.high is None:
        return text("above {low}", low=quantity_text(quantity, found.low))
    if found.number is None:
        return text("from {range}", range=range_text(quantity, found.low, found.high))
    return range_text(quantity, found.low, found.high)


def replication_text(found: Replication, *, report: Path | None) -> str:
    """For a terminal: what did not hold first."""
    where = [text("The store: {store}", store=found.store)]
    where += [] if report is None else [text("The report: {report}", report=str(report))]
    command = text("Command: {command}", command=found.command)
    return sections_text((*replication_sections(found), Section(drawing=(command, *where))))


def replication_sections(found: Replication) -> Iterator[Section]:
    """The verdicts, what did not hold first, then what is to be known beside them."""
    yield Section(title=found.title, facts=(replication_headline(found), found.paper))
    claims, of_size = _in_order(found)
    said = [
        text(
            "“{claim}”: {verdict}. {told}",
            claim=claim.claim,
            verdict=text(VERDICT_WORDS[claim.verdict]),
            told=_told(claim),
        )
        for claim in claims
    ]
    said += [_of_size_text(of_size)] if of_size else []
    yield Section(facts=tuple(said))
    for title, facts in _around(found):
        yield Section(title=title, facts=tuple(facts))


def _of_size_text(claims: Sequence[JudgedClaim]) -> str:
    return plural(
        "{n} claim is about the paper's sizes: only the full form can tell.",
        "{n} claims are about the paper's sizes: only the full form can tell.",
        len(claims),
    )


def _around(found: Replication) -> Iterator[tuple[str, Sequence[str]]]:
    """What is to be known beside the verdicts, by its title."""
    done, n = (sum(getattr(arm, of) for arm in found.arms) for of in ("finished", "trials"))
    counted = plural(
        "{done} of {n_runs} trainings, in one sweep.",
        "{done} of {n_runs} trainings, in {n} sweeps.",
        len(found.arms),
        done=done,
        n_runs=n,
    )
    yield text("What was trained"), [*found.protocol, counted]
    if found.smaller:
        yield text("What the quick form has less of"), found.smaller
    if found.left_open:
        yield text("What the source leaves open, and what was taken"), found.left_open


# ---- a page


def replication_page(found: Replication) -> str:
    """The page as text: the verdicts first."""
    figures = tuple(_figure(drawing, i) for i, drawing in enumerate(found.drawings))
    sizes = {int(row["batch_size"] or 1) for f in figures for row in f.rows if "batch_size" in row}
    claims, of_size = _in_order(found)
    sources, arms = _sources_table(found), _arms_table(found)
    return render_page(
        "replication.html.j2",
        found=found,
        command=found.command,
        environment=list(found.environment),
        figures=figures,
        looks=looks(sizes or {1}, n_train=0),
        headline=replication_headline(found),
        claims=_findings(claims),
        of_size=_findings(of_size),
        of_size_text=_of_size_text(of_size),
        around=list(_around(found)),
        sources=sources,
        arms=arms,
        downloads=downloads(
            {
                "sources": (text("one row a published number"), sources),
                "sweeps": (text("one row a sweep"), arms),
            }
        ),
    )


def _findings(claims: Sequence[JudgedClaim]) -> list[tuple[str, list[Sentence]]]:
    return [
        (each.claim, [Sentence(topic=each.claim, text=_told(each), verdict=each.verdict)])
        for each in claims
    ]


def _sources_table(found: Replication) -> Table:
    """Every published row that a claim is held against, as it is in its table."""
    rows = {(row.quantity, row.condition): row for claim in found.claims for row in claim.source}

    sure = {"yes": "found in a source", "no": "unverified", "derived": "derived, see the note"}

    def how_sure(row: PublishedRow) -> str:
        return text(sure[row.verified])

    return table_of(
        text("The published numbers"),
        list(rows.values()),
        Column("source", label=text("source")),
        Column("quantity", label=text("quantity")),
        Column("condition", label=text("of")),
        Column("value", label=text("value")),
        Column("uncertainty", label="±"),
        Column("unit", label=text("unit")),
        Column("verified", label=text("how sure"), of=how_sure),
        Column("note", label=text("note")),
    ).without_empty_columns()


def _arms_table(found: Replication) -> Table:
    """Every sweep as it was asked for, and how much of it was trained."""
    return table_of(
        text("The sweeps"),
        found.arms,
        Column("name", label=text("sweep")),
        Column("finished", "step", text("trained")),
        Column("trials", "step", text("of")),
        Column("asked", label=text("asked")),
        Column("study", label=text("study")),
    )


def _figure(drawing: Drawing, place: int) -> Figure:
    key = chr(ord("a") + place)
    panel = Panel(
        f"replication-{key}",
        label_text(drawing.quantity),
        drawing.quantity,
        tuple(_rows(drawing)),
        axis=drawing.over,
    )
    notes = [text("Filled points are measured here, bars are their 95 % intervals.")]
    if any(point.is_published for point in drawing.points):
        notes.append(text("Hollow points are published ones."))
    notes += [drawing.note] if drawing.note else []
    return Figure(
        key,
        f"drawing-{key}",
        drawing.title,
        [panel],
        notes=notes,
        nothing=text("Nothing of it was trained yet."),
    )


def _rows(drawing: Drawing) -> Iterator[Row]:
    first = drawing.points[0].series if drawing.points else ""
    for point in drawing.points:
        size = point.at if drawing.over == "batch_size" else 1
        place: Row = {"batch_size": int(size), drawing.over: point.at, "series": point.series}
        kind = "open" if point.is_published else "point"
        for row in interval_mark(kind, point.value, **place):
            yield row
            if point.series != first and not point.is_published:
                yield {**row, "kind": "words", "text": point.series}
            if not point.is_published and drawing.over != "configuration":
                yield {**row, "kind": "curve", "low": row["mean"], "high": row["mean"]}
