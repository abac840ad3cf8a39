"""Init: a script is run with `--help`, never imported, and a `batchlab.toml` is drafted."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from batchlab.errors import BatchlabError, UsageError
from batchlab.launching.line_cutter import plain_text
from batchlab.launching.placeholders import placeholders_in
from batchlab.launching.run_file import RUN_FILE_NAME
from batchlab.launching.run_file_draft import RunFileDraft, drafted
from batchlab.launching.script_help import flags_in

# Long enough to import a large library from a cold disk.
HELP_LIMIT_S = 60.0
_LONGEST_HELP = 200_000
_EXAMPLE = "batchlab init -- python train.py"


@dataclass(frozen=True, kw_only=True, slots=True)
class Initialized:
    """What `init` did.

    Attributes:
        path: the file that was written.
        draft: what is in it.
        trouble: why the help may not be one, in one line; None: it came.
    """

    path: Path
    draft: RunFileDraft
    trouble: str | None


def init(command: Sequence[str], *, folder: Path, limit_s: float = HELP_LIMIT_S) -> Initialized:
    """Write a draft of `batchlab.toml` for a training command.

    Args:
        command: the program and its arguments, as they are typed without batchlab.
        folder: where the file is written.
        limit_s: for how long the help may take.

    Raises:
        UsageError: there is no command, or the folder has such a file.
        BatchlabError: the command can't be run, or the file can't be written.
    """
    path = folder / RUN_FILE_NAME
    if not command:
        raise UsageError(f"there is no command; give yours after --, as in {_EXAMPLE}")
    if path.exists():
        raise UsageError(
            f"{path} is there already, and is left as it is; move it away to have a new one drafted"
        )
    text, trouble = _help_of(_without_placeholders(command), limit_s)
    draft = drafted(command, flags_in(text))
    if not draft.found and trouble is None:
        trouble = (
            "what it printed for --help shows no flags that batchlab knows; it may have trained"
        )
    _write_new(path, draft.text)
    return Initialized(path=path, draft=draft, trouble=trouble)


def _without_placeholders(command: Sequence[str]) -> list[str]:
    """The command as it can be run: a parser refuses `{batch_size}` before it comes to --help."""
    kept: list[str] = []
    for argument in command:
        if not placeholders_in(argument, where=f"the argument {argument!r}"):
            kept.append(argument)
        elif argument.startswith("{") and kept and kept[-1].startswith("-"):
            kept.pop()
    return kept


def _help_of(command: list[str], limit_s: float) -> tuple[str, str | None]:
    """What the command prints for --help, and what was wrong with it."""
    # Wide and plain: no line of the help is broken, none has colors.
    environment = os.environ | {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    with tempfile.TemporaryFile() as output:
        try:
            child = subprocess.Popen(
                [*command, "--help"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise BatchlabError(
                f"{command[0]!r} can't be run: {error.strerror}; give the command as you type it, "
                f"as in {_EXAMPLE}"
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


def _write_new(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise BatchlabError(f"{path} can't be written: {error.strerror}") from None
