"""`batchlab report`: a study of a store, shown again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchlab.cli.options import store_option, study_option

if TYPE_CHECKING:
    from batchlab.commands.report import ReportFormat


@click.command()
@store_option
@study_option
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["html", "text", "csv", "svg", "png", "json"]),
    default="html",
    show_default=True,
)
@click.option(
    "--report",
    "path",
    type=click.Path(path_type=Path),
    help="The file to write; csv, svg and png make several beside it. Default: batchlab-report.*",
)
def report(
    store: Path, study_id: str | None, output_format: ReportFormat, path: Path | None
) -> None:
    """Show a study of the store as a page, text, tables or images."""
    from batchlab.commands.report import report as shown_again

    shown = shown_again(store, study=study_id, output_format=output_format, path=path)
    if shown.warning is not None:
        print(f"warning: {shown.warning}", file=sys.stderr)
    if shown.text is not None:
        print(shown.text, end="")
    for file in shown.files:
        print(file)
