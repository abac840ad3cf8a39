"""Output: results go to stdout, and everything else that a command prints to stderr."""

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
    """Yield the progress listener of a command that trains, with stdout redirected to stderr.

    The user's code may print, here or in a child process, but stdout must contain only the result.
    With `has_page`, the code that writes a page is imported while the server of child processes
    imports torch.
    """
    from batchlab.processes.server import start_early

    with _stdout_to_stderr():
        if isinstance(workload, str):
            start_early()  # start the server of child processes, which then imports torch
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
    """Redirect the stdout of this process and its children to stderr during the `with` block."""
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
    """Wrap texts at the terminal's width during the `with` block, if stdout is a terminal."""
    from batchlab.report.text import on_a_terminal

    if not sys.stdout.isatty():
        yield
        return
    with on_a_terminal(shutil.get_terminal_size().columns):
        yield


def print_sections(sections: Sequence[Section]) -> None:
    """Print sections as text; if stdout is a terminal, wrap the text at the terminal's width."""
    from batchlab.report.table import sections_text

    with as_wide_as_stdout():
        print(sections_text(sections), end="")
