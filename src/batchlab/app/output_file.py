"""Output files: write a file completely, or leave the old file unchanged if that fails."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from batchlab.errors import BatchlabError, UsageError


def check_output_file(
    path: Path, *, store: Path | None, option: str = "--report", example: str = "report.html"
) -> None:
    """Refuse an unusable path of an output file now, instead of after hours of training.

    Args:
        path: the file to be written.
        store: the command's store, which must not be overwritten; None if there is no store.
        option: the command-line option of `path`, named in the error message.
        example: a file name with the right suffix, named in the error message.

    Raises:
        UsageError: no file can be written to `path`; the message says why and what to do.
    """
    is_own = store is not None and path.resolve() == store.resolve()
    if is_own or _is_store(path):
        raise UsageError(f"{option} {path} is a store; give another file, such as {example}")
    if path.is_dir():
        raise UsageError(f"{option} {path} is a folder; give a file, such as {path}/{example}")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {folder}; make it, or give another")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{option} {path}: {folder} cannot be written to; give another folder")


def _is_store(path: Path) -> bool:
    """Return whether a path is an SQLite file, which may contain hours of results."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"


def write_output_file(path: Path, content: bytes) -> None:
    """Write `content` to a temporary file in the same folder, then rename the file to `path`.

    Raises:
        BatchlabError: the folder is missing or read-only, `path` is a folder, the disk is full.
    """
    # Write directly into a pipe or a device: a rename would replace it, even /dev/null.
    if path.exists() and not (path.is_file() or path.is_dir()):
        path.write_bytes(content)
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise BatchlabError(
            f"cannot write {path} ({len(content)} bytes): {error.strerror}; what was there before "
            f"is unchanged; free some space, make the folder, or give another path"
        ) from error


def write_output_files(path: Path, contents: Mapping[str, bytes]) -> tuple[Path, ...]:
    """Write a file for each item of `contents`, with the item's key added to the name of `path`.

    With the path `report.svg`, the key "b-epochs" gives the file `report-b-epochs.svg`.

    Raises:
        BatchlabError: a file cannot be written.
    """
    files = []
    for name, content in contents.items():
        files.append(path.with_name(f"{path.stem}-{name}{path.suffix}"))
        write_output_file(files[-1], content)
    return tuple(files)
