"""`batchlab replicate`: a published experiment run here, its numbers beside ours."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from batchlab.cli import options
from batchlab.cli.invocation import Invocation
from batchlab.cli.output import at_work, print_result
from batchlab.errors import BudgetError, UsageError
from batchlab.registry import row_names
from batchlab.replications import papers
from batchlab.report.output_file import check_output_file, write_output_file

_NAMES = row_names(papers)


@click.command(
    epilog=f"Replications: {', '.join(_NAMES)}.",
)
@click.argument("name", required=False, metavar="NAME")
@click.option("--all", "is_all", is_flag=True, help="Run all of them, one after the other.")
@click.option(
    "--quick/--full",
    "is_quick",
    default=True,
    show_default=True,
    help="quick: smaller, in minutes, and it says what is smaller. full: with the paper's sizes; "
    "how long it takes is said first.",
)
@click.option(
    "--budget",
    type=options.BUDGET,
    help="Stop after this much time at most. The same command goes on later. Default: no limit.",
)
@options.store
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    help="Write a page to this file; with --all one each, its name before the ending.",
)
@options.as_json
@options.quiet
@options.device
@click.pass_obj
def replicate(
    invocation: Invocation,
    /,
    name: str | None,
    is_all: bool,
    is_quick: bool,
    report: Path | None,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Run the published experiment NAME here, and print its numbers beside ours.

    Each claim has a verdict: held, did not hold, or can't tell here and why. Nothing that the store
    holds is trained again: after Ctrl-C or a crash the same command goes on.
    """
    names = _asked_for(name, is_all=is_all)
    pages = {each: _page_of(report, each, is_all=is_all) for each in names}
    for path in filter(None, pages.values()):
        check_output_file(path, store=given["store"])
    found: list[Any] = []
    for each in names:
        with at_work("replicate", each, quiet=quiet, has_page=report is not None) as progress:
            from batchlab.app.replicate import replicate as run_replication
            from batchlab.report.replication import replication_page

            # One budget for all of them, so what is gone of it is gone for each.
            reserved_s = invocation.reserved_s(given["budget"], report)
            try:
                made = run_replication(
                    each,
                    form="quick" if is_quick else "full",
                    command=invocation.command_line,
                    reserved_s=reserved_s,
                    listener=progress,
                    **given,
                )
            except BudgetError:
                if not found:
                    raise
                left = ", ".join(names[len(found) :])
                progress.warning(f"the budget ended; left: {left}; the same command goes on")
                break
            page = pages[each]
            if page is not None:
                progress.phase("writing the report")
                write_output_file(page, replication_page(made).encode())
        found.append(made)
        if not as_json:
            _print_text(made, page)
    if as_json:
        _print_json(found, pages, is_all=is_all)


def _asked_for(name: str | None, *, is_all: bool) -> list[str]:
    if is_all == (name is not None):
        given = "neither a name nor --all" if name is None else f"{name!r} and --all"
        raise UsageError(f"{given}: expected one of {', '.join(_NAMES)}, or --all")
    if name is not None and name not in _NAMES:
        raise UsageError(f"no replication {name!r}; there are {', '.join(_NAMES)}, or --all")
    return _NAMES if name is None else [name]


def _page_of(report: Path | None, name: str, *, is_all: bool) -> Path | None:
    if report is None or not is_all:
        return report
    return report.with_name(f"{report.stem}-{name}{report.suffix}")


def _print_text(made: Any, page: Path | None) -> None:
    from batchlab.report.replication import replication_headline, replication_text

    print_result(
        lambda: replication_text(made, report=page),
        headline=lambda: f"{replication_headline(made)}\n",
    )
    sys.stdout.flush()


def _print_json(found: list[Any], pages: dict[str, Path | None], *, is_all: bool) -> None:
    from batchlab.report.replication import replication_document
    from batchlab.words.document import SCHEMA, json_text

    told: list[Any] = [replication_document(made, report=pages[made.name]) for made in found]
    if is_all:
        print(json_text({"schema": SCHEMA, "command": "replicate", "replications": told}))
    else:
        print(json_text(told[0]))
