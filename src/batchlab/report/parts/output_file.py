"""Output file: a report is on the disk whole, or the old one still is."""

from __future__ import annotations

import os
from pathlib import Path

from batchlab.errors import BatchlabError


class OutputFileError(BatchlabError):
    """A report that could not be written; what was there before is unchanged."""


def write_output_file(path: Path, content: bytes) -> None:
    """Write `content` to `path` by way of a temporary file beside it and a rename.

    Raises:
        OutputFileError: the folder is missing or read-only, `path` is a folder, the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    if path.is_dir():
        raise OutputFileError(
            f"cannot write {path}: it is a folder; give a file name, such as "
            f"{path / 'batchlab-report.html'}"
        )
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        missing = not path.parent.is_dir()
        raise OutputFileError(
            f"cannot write {path} ({len(content)} bytes): "
            + (f"there is no folder {path.parent}" if missing else f"{error.strerror}")
            + "; what was there before is unchanged; "
            + ("make that folder" if missing else "free some space")
            + " or give another path"
        ) from error
