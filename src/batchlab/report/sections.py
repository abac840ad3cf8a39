"""Section: words, a table and a picture that belong together; sections as a terminal's text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from batchlab.report.table import Table
from batchlab.report.text import listed, wrapped_text


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """What belongs together, from top to bottom, in a terminal and in a notebook."""

    title: str = ""
    facts: tuple[str, ...] = ()
    drawing: tuple[str, ...] = ()  # lines that stay as they are
    picture: tuple[str, str] | None = None  # an SVG, and what it shows in words; in no terminal
    table: Table | None = None


def sections_text(sections: Iterable[Section]) -> str:
    """The sections for a terminal, a blank line between any two things, ended by a newline."""
    said = []
    for section in sections:
        facts = wrapped_text(section.facts[0]) if len(section.facts) == 1 else listed(section.facts)
        said += [wrapped_text(section.title), facts, "\n".join(section.drawing)]
        if section.table is not None:
            said.append(f"{wrapped_text(section.table.caption)}\n{section.table.to_text()}")
    return "\n\n".join(filter(None, said)) + "\n"


def first_fact(section: Section) -> str:
    """What is read first of it, for where a long text ends."""
    return f"{wrapped_text(section.facts[0])}\n"
