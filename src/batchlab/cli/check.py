"""`batchlab check`: is the gradient the same under accumulation?"""

from __future__ import annotations

from typing import Any

import click

from batchlab.cli import options
from batchlab.cli.invocation import Invocation
from batchlab.cli.output import at_work, print_sections


@click.command()
@options.workload
@options.takes("settings budget as_json quiet device")
@click.pass_obj
def check(invocation: Invocation, /, as_json: bool, quiet: bool, **given: Any) -> None:
    """Check that the gradient stays the same under accumulation.

    WORKLOAD is a built-in name (see `batchlab workloads`) or path/file.py:name.

    The gradient of a batch is compared with that of its micro-batches put together. Where they
    differ, the causes are named with their places.
    """
    with at_work("check", given["workload"], quiet=quiet):
        from batchlab.app.check import check as run_check
        from batchlab.report.short_reports import check_json, check_section

        found = run_check(**given, reserved_s=invocation.reserved_s(given["budget"], None))
    if as_json:
        print(check_json(found))
        return
    print_sections([check_section(found)])
