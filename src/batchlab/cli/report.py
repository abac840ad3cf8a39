"""`batchlab report`: a study of a store, shown again."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchlab.cli.options import store_option, study_option
from batchlab.cli.output import as_wide_as_stdout, print_result
from batchlab.errors import UsageError

# The study's own processes come first: its step times are measured while the page is made.
_NICE = 10

if TYPE_CHECKING:
    from batchlab.commands.report import ReportFormat


@click.command()
@store_option
@study_option
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["html", "text", "csv", "svg", "png", "json"]),
    help="What to make of it. Default: html.",
)
@click.option(
    "--report",
    "path",
    type=click.Path(path_type=Path),
    help="The file to write; csv, svg and png make several beside it. Default: batchlab-report.*, "
    "for text and json the terminal.",
)
@click.option(
    "--live",
    is_flag=True,
    help="Print an address where your browser shows the page, up to date while a study runs. "
    "Ctrl-C ends it.",
)
def report(
    store: Path,
    study_id: str | None,
    output_format: ReportFormat | None,
    path: Path | None,
    live: bool,
) -> None:
    """Show a study of the store as a page, text, tables or images."""
    if live:
        _serve(store, study_id, output_format, path)
        return
    from batchlab.commands.report import report as shown_again

    # A file has the width of a text, not that of the terminal it was asked for in.
    with as_wide_as_stdout() if path is None else contextlib.nullcontext():
        shown = shown_again(store, study=study_id, output_format=output_format or "html", path=path)
    if shown.warning is not None:
        print(f"warning: {shown.warning}", file=sys.stderr)
    said, headline = shown.text, shown.headline
    if said is not None and headline is not None:
        print_result(lambda: said, headline=lambda: headline)
    elif said is not None:
        print(said, end="")
    for file in shown.files:
        print(file)


def _serve(
    store: Path, study_id: str | None, output_format: ReportFormat | None, path: Path | None
) -> None:
    """Serve the live page.

    Raises:
        UsageError: something that a live page does not have was asked for.
    """
    if output_format is not None or path is not None:
        raise UsageError(
            "--live serves a page and writes no file; leave out --format and --report, or --live"
        )
    from batchlab.commands.live_report import LiveReport, refuse_unreadable
    from batchlab.commands.live_server import serve_live

    refuse_unreadable(store, study_id)
    os.nice(_NICE)
    serve_live(
        LiveReport(store, study_id),
        say=lambda address: print(f"{address} (Ctrl-C ends it)", flush=True),
    )
