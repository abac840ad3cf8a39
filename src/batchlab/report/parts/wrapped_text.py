"""WrappedText: a sentence as lines for a terminal, words and hyphens whole."""

from __future__ import annotations

import textwrap

WIDTH = 88


def wrapped_text(said: str) -> str:
    """Lines of at most 88 characters where words allow it; under "- " they are indented."""
    return textwrap.fill(
        said,
        WIDTH,
        subsequent_indent="  " if said.startswith("- ") else "",
        break_long_words=False,
        break_on_hyphens=False,
    )
