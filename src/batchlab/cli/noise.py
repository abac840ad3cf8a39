"""`batchlab noise`: how noisy the gradient is along a training."""

from __future__ import annotations

from typing import Any

import click

from batchlab.cli.invocation import Invocation
from batchlab.cli.options import takes, workload
from batchlab.cli.output import at_work, print_sections


@click.command()
@workload
@takes("steps settings memory_limit_bytes budget as_json quiet device")
@click.pass_obj
def noise(invocation: Invocation, /, as_json: bool, quiet: bool, **options: Any) -> None:
    """Measure the gradient noise scale along a training.

    WORKLOAD is a built-in name (see `batchlab workloads`) or path/file.py:name.

    The workload is trained as it is. At its initial weights, and at steps that double from point to
    point, gradients of training examples tell how large a batch must be for its gradient to be more
    than noise.
    """
    with at_work("noise", options["workload"], quiet=quiet) as progress:
        # Also load now, while there is time, what shows the result.
        from batchlab.app.noise import noise as run_noise
        from batchlab.report.noise import noise_sections

        reserved_s = invocation.reserved_s(options["budget"], None)
        measured = run_noise(**options, reserved_s=reserved_s, listener=progress)
    if as_json:
        print(measured.to_json())
        return
    print_sections(list(noise_sections(measured)))
