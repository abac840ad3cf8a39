"""Shown: records that show themselves, by views which the records themselves know not.

The views belong to rooms above, which read records. So the way is turned round: the package's
surface, above all rooms, names them here, and a record asks for one when it is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

_homes: dict[str, str] = {}


def show_with(**homes: str) -> None:
    """From now on records show themselves by these views.

    Args:
        homes: where each view is, as "module:function"; its module loads when it is first asked
            for. `notebook`: record -> a piece of HTML; `page`: record, path -> the file written;
            `document`: record -> what `--json` prints; `frame`: record -> a pandas DataFrame.
    """
    _homes.clear()
    _homes.update(homes)


def _view(name: str) -> Callable[..., Any]:
    module, _, function = _homes[name].partition(":")
    view: Callable[..., Any] = getattr(import_module(module), function)
    return view


def document_of(record: object) -> dict[str, Any]:
    """The record as plain dicts and lists."""
    document: dict[str, Any] = _view("document")(record)
    return document


class ShownInNotebook:
    """A record that a notebook shows as HTML."""

    __slots__ = ()

    def _repr_html_(self) -> str | None:
        """The record as a notebook shows it; None, so that it shows the `repr`, without a view."""
        shown: str | None = _view("notebook")(self) if _homes else None
        return shown


class Reported(ShownInNotebook):
    """A record with a page and a table of its own."""

    __slots__ = ()

    def report(self, path: str | Path) -> Path:
        """Write the page that `--report` writes: one HTML file, complete in itself.

        Args:
            path: the file; one that is there is replaced.

        Returns:
            The file.

        Raises:
            UsageError: no file can be written to `path`, or it is a store.
            OutputFileError: the file cannot be written; an old one is left as it is.
            StoreError: the runs behind an advice cannot be read any more.
        """
        written: Path = _view("page")(self, Path(path))
        return written

    def to_pandas(self) -> Any:
        """Its table as a pandas DataFrame: of a sweep a row a trial, of an advice a batch size.

        The columns are those of the CSV files on its page; what is not known is missing.

        Raises:
            MissingLibraryError: pandas is not installed.
        """
        return _view("frame")(self)
