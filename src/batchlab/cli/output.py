"""Output: stdout is for the result, stderr for everything else that is said on the way there."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchlab.cli.progress import ProgressBar, ProgressLines


@contextlib.contextmanager
def at_work() -> Iterator[ProgressBar | ProgressLines]:
    """Context: a command that trains; gives what is told how it gets on.

    What the user's own code prints is no result, here or in a child: a script reads those.
    """
    from batchlab.cli.progress import progress_on_stderr
    from batchlab.processes.fork_server import start_early

    with _stdout_to_stderr(), progress_on_stderr() as progress:
        start_early()  # it imports torch while the lines inside do
        yield progress


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Context: what is written to stdout, by this process and its children, goes to stderr."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
