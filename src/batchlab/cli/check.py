"""`batchlab check`: is the gradient the same under accumulation?"""

from __future__ import annotations

from typing import Any

import click

from batchlab.cli.invocation import Invocation
from batchlab.cli.options import takes, workload
from batchlab.cli.output import at_work, print_sections


@click.command()
@workload
@takes("settings budget as_json quiet device")
@click.pass_obj
def check(invocation: Invocation, /, as_json: bool, quiet: bool, **options: Any) -> None:
    """Check that the gradient stays the same under accumulation.

    WORKLOAD is a built-in name (see `batchlab workloads`) or path/file.py:name.

    The gradient of a batch is compared with that of its micro-batches put together. Where they
    differ, the causes are named with their places.
    """
    with at_work("check", options["workload"], quiet=quiet):
        from batchlab.app.check import check as run_check
        from batchlab.report.short_reports import check_section
        from batchlab.words.document import document_text

        reserved_s = invocation.reserved_s(options["budget"], None)
        accumulation = run_check(**options, reserved_s=reserved_s)
    if as_json:
        print(document_text(accumulation))
        return
    print_sections([check_section(accumulation)])
