"""Init: a script is run with `--help`, never imported, and a `batchlab.toml` is drafted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from batchlab.errors import BatchlabError, UsageError
from batchlab.script.check import flags_in, help_of
from batchlab.script.run_file import RUN_FILE_NAME, RunFileDraft, drafted

# Long enough to import a large library from a cold disk.
HELP_LIMIT_S = 60.0
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
    text, trouble = help_of(command, limit_s)
    draft = drafted(command, flags_in(text))
    if not draft.found and trouble is None:
        trouble = (
            "what it printed for --help shows no flags that batchlab knows; it may have trained"
        )
    _write_new(path, draft.text)
    return Initialized(path=path, draft=draft, trouble=trouble)


def _write_new(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise BatchlabError(f"{path} can't be written: {error.strerror}") from None
