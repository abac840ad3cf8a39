"""Part: words, a table and a picture that belong together; parts as the text of a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from batchlab.report.table import Table
from batchlab.report.text import listed, wrapped_text


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What belongs together, from top to bottom, in a terminal and in a notebook."""

    title: str = ""
    facts: tuple[str, ...] = ()
    drawing: tuple[str, ...] = ()  # lines that stay as they are
    picture: tuple[str, str] | None = None  # an SVG, and what it shows in words; in no terminal
    table: Table | None = None


def parts_text(parts: Iterable[Part]) -> str:
    """The parts for a terminal, a blank line between any two things, ended by a newline."""
    said = []
    for part in parts:
        facts = wrapped_text(part.facts[0]) if len(part.facts) == 1 else listed(part.facts)
        said += [wrapped_text(part.title), facts, "\n".join(part.drawing)]
        if part.table is not None:
            said.append(f"{wrapped_text(part.table.caption)}\n{part.table.to_text()}")
    return "\n\n".join(filter(None, said)) + "\n"


def first_fact(part: Part) -> str:
    """What is read first of it, for where a long text ends."""
    return f"{wrapped_text(part.facts[0])}\n"
