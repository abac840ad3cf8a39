"""Output: stdout is for the result, and stderr for everything else that a command says."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchlab.records.progress_listener import ProgressListener
    from batchlab.report.table import Section
    from batchlab.script.command import TrainingCommand


@contextlib.contextmanager
def at_work(
    command: str, workload: TrainingCommand | str, *, quiet: bool, has_page: bool = False
) -> Iterator[ProgressListener]:
    """Prepare for a command that trains, and yield the listener for its progress.

    What the user's own code prints, here or in a child, goes to stderr, because scripts read the
    result from stdout. With `has_page`, the code that writes a page is loaded while the server of
    child processes loads torch.
    """
    from batchlab.processes.server import start_early

    with _stdout_to_stderr():
        if isinstance(workload, str):
            start_early()  # the server of its child processes imports torch meanwhile
        from batchlab.cli.progress import progress_on_stderr

        with progress_on_stderr(quiet=quiet) as progress:
            subject = workload if isinstance(workload, str) else workload.name
            progress.begins(command=command, subject=subject, stages=())
            if has_page:
                from batchlab.report.chart import prepare

                prepare()
            yield progress


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Send what this process and its children write to stdout to stderr."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


@contextlib.contextmanager
def as_wide_as_stdout() -> Iterator[None]:
    """Make texts fit the terminal if stdout is one; elsewhere they have their usual width."""
    from batchlab.report.text import on_a_terminal

    if not sys.stdout.isatty():
        yield
        return
    with on_a_terminal(shutil.get_terminal_size().columns):
        yield


def print_sections(sections: Sequence[Section]) -> None:
    """Print sections for people."""
    from batchlab.report.table import sections_text

    with as_wide_as_stdout():
        print(sections_text(sections), end="")
