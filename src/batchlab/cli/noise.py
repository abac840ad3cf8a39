"""`batchlab noise`: how noisy the gradient is along a training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from batchlab.app.output_file import check_output_file, write_output_file
from batchlab.cli.invocation import Invocation
from batchlab.cli.options import takes, workload
from batchlab.cli.output import at_work, print_sections


@click.command()
@workload
@takes("steps settings memory_limit_bytes budget report as_json quiet device")
@click.pass_obj
def noise(
    invocation: Invocation, /, report: Path | None, as_json: bool, quiet: bool, **options: Any
) -> None:
    """Measure the gradient noise scale along a training.

    WORKLOAD is a built-in name (see `batchlab workloads`) or path/file.py:name.

    The workload is trained as it is. At its initial weights, and at steps that double from point to
    point, gradients of training examples tell how large a batch must be for its gradient to be more
    than noise.
    """
    if report is not None:
        check_output_file(report, store=None)
    with at_work("noise", options["workload"], quiet=quiet) as progress:
        # Also load now, while there is time, what shows the result.
        from batchlab.app.noise import noise as run_noise
        from batchlab.report.noise import noise_page, noise_sections

        reserved_s = invocation.reserved_s(options["budget"], report)
        measured = run_noise(**options, reserved_s=reserved_s, listener=progress)
        if report is not None:
            progress.phase("writing the report")
            page = noise_page(measured, command=invocation.command_line)
            write_output_file(report, page.encode())
            measured = replace(measured, report=str(report))
    if as_json:
        print(measured.to_json())
        return
    where = "" if report is None else f"\nThe report: {report}\n"
    print_sections(list(noise_sections(measured)), where)
