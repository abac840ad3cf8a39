"""`batchlab profile`: step time and memory by batch size, and the largest that fits."""

from __future__ import annotations

from typing import Any

import click

from batchlab.cli.invocation import Invocation
from batchlab.cli.options import takes, workload
from batchlab.cli.output import at_work, print_sections
from batchlab.cli.own_command import OWN_COMMAND, with_own_command

# Reserved to stop the last probe, which may take this long on a busy machine.
_PROBE_END_S = 1.0


@click.command()
@workload
@takes(f"batch_sizes settings memory_limit_bytes budget as_json quiet device {OWN_COMMAND}")
@click.pass_obj
def profile(invocation: Invocation, /, as_json: bool, quiet: bool, **options: Any) -> None:
    """Measure time and memory by batch size; find the largest.

    WORKLOAD is a built-in name (see `batchlab workloads`), path/file.py:name, or a batchlab.toml.
    Or give your own training command after --, with {batch_size} where it takes one.

    Each batch size runs in a process of its own. If one runs out of memory, crashes or hangs, the
    others run all the same. What --json prints can be used on another machine: batchlab advise
    --profile FILE.
    """
    options = with_own_command(options)
    with at_work("profile", options["workload"], quiet=quiet) as progress:
        # Also load now, while there is time, what shows the result.
        from batchlab.app.profile import profile as run_profile
        from batchlab.report.short_reports import profile_section

        measured = run_profile(
            **options,
            reserved_s=invocation.reserved_s(options["budget"], None) + _PROBE_END_S,
            listener=progress,
        )
    if as_json:
        print(measured.to_json())
        return
    print_sections([profile_section(measured)])
