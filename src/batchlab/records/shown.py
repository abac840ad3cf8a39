"""Shown: records that display themselves through views that they do not import.

The views belong to higher-level packages, which import records. They are therefore named here as
text, and a record looks up its view when it is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

# The location of each view, imported at its first use. `notebook`: record -> a piece of HTML;
# `page`: record, path -> the file written; `document`: record -> what `--json` prints; `frame`:
# record -> a pandas DataFrame.
_VIEWS = {
    "notebook": "batchlab.report.notebook:notebook_view",
    "page": "batchlab.app.report:write_record_page",
    "document": "batchlab.report.notebook:record_dict",
    "frame": "batchlab.report.notebook:data_frame",
}


def _view(name: str) -> Callable[..., Any]:
    module, _, function = _VIEWS[name].partition(":")
    view: Callable[..., Any] = getattr(import_module(module), function)
    return view


def document_of(record: object) -> dict[str, Any]:
    """Return the record as plain dicts and lists."""
    document: dict[str, Any] = _view("document")(record)
    return document


class ShownInNotebook:
    """A record that a notebook shows as HTML."""

    __slots__ = ()

    def _repr_html_(self) -> str | None:
        """Return HTML for a notebook, or None, so that the notebook shows the `repr`."""
        html: str | None = _view("notebook")(self)
        return html


class Reported(ShownInNotebook):
    """A record with a page and a table of its own."""

    __slots__ = ()

    def report(self, path: str | Path) -> Path:
        """Write the page that `--report` writes: one HTML file, complete in itself.

        Args:
            path: the file; an existing one is replaced.

        Returns:
            The file.

        Raises:
            UsageError: no file can be written to `path`, or it is a store.
            BatchlabError: the file cannot be written; an old one is left as it is.
            StoreError: the runs behind an advice cannot be read any more.
        """
        written: Path = _view("page")(self, Path(path))
        return written

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame with one row per trial (sweep) or batch size (advice).

        The columns are those of the CSV files on its page; unknown values are missing.

        Raises:
            MissingLibraryError: pandas is not installed.
        """
        return _view("frame")(self)
