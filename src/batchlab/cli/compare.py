"""`batchlab compare`: shows which differences between two studies exceed noise."""

from __future__ import annotations

from pathlib import Path

import click

from batchlab.cli.options import takes
from batchlab.cli.output import print_sections


@click.command()
@click.argument("a")
@click.argument("b")
@takes("store as_json")
def compare(a: str, b: str, store: Path, as_json: bool) -> None:
    """Show what differs beyond noise between the studies A and B.

    Each is a store, of which the last study counts, the start of the id of a study in --store, or
    a file with what batchlab profile --json printed.
    """
    from batchlab.app.compare import compare as compare_studies
    from batchlab.report.short_reports import comparison_section
    from batchlab.words.document import document_text

    comparison = compare_studies(a, b, store=store)
    if as_json:
        print(document_text(comparison))
        return
    print_sections([comparison_section(comparison)])
