"""Made-up ends of commands."""

from __future__ import annotations

from batchlab.records.estimate import Reason
from batchlab.records.trial import Status
from batchlab.script.process import CommandEnd


def failed_end(
    *,
    last_line: str = "KeyError: 'label'",
    exit_code: int = 1,
    status: Status = Status.ERROR,
    was_asked: bool = False,
) -> CommandEnd:
    """The end of a command that failed after a second."""
    return CommandEnd(
        status=status,
        reason=Reason.of(
            "command_failed", command="python train.py", exit_code=exit_code, said=last_line
        ),
        exit_code=exit_code,
        was_asked=was_asked,
        last_lines=("Traceback (most recent call last):", last_line),
        started_s=0.0,
        ended_s=1.0,
        peak_bytes=None,
        gpu_peak_bytes=None,
    )
