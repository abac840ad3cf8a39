"""`batchlab report`: shows a stored study as a page, text, tables or images."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchlab.cli.options import takes
from batchlab.cli.output import as_wide_as_stdout
from batchlab.errors import UsageError

if TYPE_CHECKING:
    from batchlab.app.report import ReportFormat


@click.command()
@takes("store study_id output_format path live")
def report(
    store: Path,
    study_id: str | None,
    output_format: ReportFormat | None,
    path: Path | None,
    live: bool,
) -> None:
    """Show a study of the store as a page, text, tables or images."""
    if live:
        _write_live(store, study_id, output_format, path)
        return
    from batchlab.app.report import json_document, stored, text_of, write_files

    shown = stored(store, study_id)
    if path is None and output_format == "json":
        print(json_document(shown, store=store, page=None))
    elif path is None and output_format == "text":
        with as_wide_as_stdout():
            print(text_of(shown), end="")
    else:
        for file in write_files(shown, output_format or "html", path, store=store):
            print(file)


def _write_live(
    store: Path, study_id: str | None, output_format: ReportFormat | None, path: Path | None
) -> None:
    """Write the page every 20 s while the study runs; refuse other formats than HTML."""
    if output_format not in (None, "html"):
        raise UsageError(
            f"--live writes a page, not {output_format}; leave out --format, or --live"
        )
    from batchlab.app.live_report import write_live_page
    from batchlab.app.output_file import check_output_file

    path = path or store.with_name("batchlab-live.html")
    check_output_file(path, store=store)
    write_live_page(store, study_id, path, show=_show)


def _show(page: Path) -> None:
    """Print the page's path, and open the page in a browser if there is a display."""
    print(page, flush=True)
    # Without a display, do not open the page: a text browser would take over the terminal.
    screens = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")
    if sys.platform == "darwin" or any(name in os.environ for name in screens):
        import webbrowser

        webbrowser.open(page.absolute().as_uri())
