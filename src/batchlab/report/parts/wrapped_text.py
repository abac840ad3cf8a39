"""WrappedText: a sentence as lines for a terminal, words and hyphens whole."""

from __future__ import annotations

import re
import textwrap

from batchlab.report.parts.text_width import text_width

WIDTH = 88
_NO_BREAK = "\u00a0"
# A number and its unit or percent sign are read in one go.
_BEFORE_A_UNIT = re.compile(r"(?<=\d) (?=(?:%|[kMG]?B|[kMG]/s|[µm]?s|min|h)(?!\w))")


def wrapped_text(said: str) -> str:
    """Lines as wide as the terminal, else 88, if words allow it; under "- " they are indented."""
    return "\n".join(
        wrapped_lines(said, text_width(WIDTH), indent="  " if said.startswith("- ") else "")
    )


def wrapped_lines(said: str, width: int, *, first: str = "", indent: str = "") -> list[str]:
    """Lines of at most `width` characters where words allow it.

    Args:
        said: the text.
        width: in characters.
        first: what stands before the first line, within the width.
        indent: what stands before all others.
    """
    kept = _BEFORE_A_UNIT.sub(_NO_BREAK, said)
    lines = textwrap.wrap(
        kept,
        width,
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_NO_BREAK, " ") for line in lines]
