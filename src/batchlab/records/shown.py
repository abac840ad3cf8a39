"""Shown: base classes of records that can be shown in a notebook, as a page or as a table.

The functions that show a record are in packages that import the records. To avoid an import cycle,
each function is named here as text and imported only when a record is shown.
"""

from __future__ import annotations

from pathlib import Path
from pkgutil import resolve_name
from typing import Any


class ShownInNotebook:
    """A record that a notebook shows as HTML."""

    __slots__ = ()

    def _repr_html_(self) -> str | None:
        """Return HTML for a notebook, or None to let the notebook show the `repr`."""
        html: str | None = resolve_name("batchlab.report.notebook:notebook_view")(self)
        return html


class Reported(ShownInNotebook):
    """A record that can be written as an HTML page and converted to a pandas DataFrame."""

    __slots__ = ()

    def report(self, path: str | Path) -> Path:
        """Write the record as one self-contained HTML page, as the option `--report` does.

        Args:
            path: the file to write; an existing file is replaced.

        Returns:
            The path of the written file.

        Raises:
            UsageError: no file can be written to `path`, or `path` is a store.
            BatchlabError: writing failed; an existing file is unchanged.
            StoreError: the stored runs of an advice can no longer be read.
        """
        written: Path = resolve_name("batchlab.app.report:write_record_page")(self, Path(path))
        return written

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame: a sweep has one row per trial, an advice one per batch size.

        The columns are the same as in the page's CSV files; unknown values are missing.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        return resolve_name("batchlab.report.notebook:data_frame")(self)
