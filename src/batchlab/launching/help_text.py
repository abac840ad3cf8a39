"""HelpText: what a command prints for `--help`; it is run, never imported."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from typing import BinaryIO

from batchlab.errors import BatchlabError
from batchlab.launching.line_cutter import plain_text
from batchlab.launching.placeholders import placeholders_in

_LONGEST_HELP = 200_000


def help_of(command: Sequence[str], limit_s: float) -> tuple[str, str | None]:
    """What a command prints for --help, and what was wrong with it (None: nothing).

    Args:
        command: with or without placeholders: those are left out, with their flags.
        limit_s: for how long it may take; then it is stopped.

    Raises:
        BatchlabError: the command can't be run.
    """
    return _run([*_without_placeholders(command), "--help"], limit_s)


def _without_placeholders(command: Sequence[str]) -> list[str]:
    """The command as it can be run: a parser refuses `{batch_size}` before it comes to --help."""
    kept: list[str] = []
    for argument in command:
        if not placeholders_in(argument, where=f"the argument {argument!r}"):
            kept.append(argument)
        elif argument.startswith("{") and kept and kept[-1].startswith("-"):
            kept.pop()
    return kept


def _run(command: list[str], limit_s: float) -> tuple[str, str | None]:
    # Wide and plain: no line of the help is broken, none has colors.
    environment = os.environ | {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    with tempfile.TemporaryFile() as output:
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise BatchlabError(
                f"{command[0]!r} can't be run: {error.strerror}; give the command as you type it, "
                f"as in -- python train.py"
            ) from None
        try:
            code = child.wait(limit_s)
        except subprocess.TimeoutExpired:
            return _read(output), (
                f"the command did not end within {limit_s:g} s of --help, and was stopped: it may "
                f"not know --help"
            )
        finally:
            _end_group(child)
        text = _read(output)
    return text, None if code == 0 else f"--help ended with exit code {code}{_last_line(text)}"


def _end_group(child: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


def _read(output: BinaryIO) -> str:
    output.seek(0)
    return output.read(_LONGEST_HELP).decode("utf-8", "replace")


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return f": {plain_text(lines[-1].encode())[:200]}" if lines else ""
