"""TextWidth: how many columns a text for people may have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

LEAST = 40
MOST = 100
_columns: ContextVar[int | None] = ContextVar("columns", default=None)


@contextmanager
def on_a_terminal(columns: int) -> Iterator[None]:
    """Context: texts are for a terminal of so many columns, and fit it from 40 to 100."""
    token = _columns.set(max(LEAST, min(columns, MOST)))
    try:
        yield
    finally:
        _columns.reset(token)


def text_width(usual: int) -> int:
    """The columns that a text may have: those of the terminal, `usual` where there is none."""
    columns = _columns.get()
    return usual if columns is None else columns


def table_width() -> int | None:
    """The columns that a table may have; None: as many as it needs."""
    return _columns.get()
