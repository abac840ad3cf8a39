"""Output files: either written completely, or the old file stays as it was."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from batchlab.errors import BatchlabError, UsageError

# Programs that open files with these suffixes accept no other format.
_SUFFIXES = frozenset({".html", ".csv", ".json", ".md", ".pdf", ".png", ".svg", ".txt", ".xlsx"})


def check_output_file(
    path: Path, *, store: Path | None, option: str = "--report", example: str = "report.html"
) -> None:
    """Refuse a path to which no file can be written, before hours of training.

    Args:
        path: the file to be written.
        store: the store of the same command, or None if it has none.
        option: the option that `path` was given with.
        example: a name for such a file, with the suffix of the format that is written.

    Raises:
        UsageError: no file can be written to `path`; the message says why and what to do.
    """
    if store is not None and path.resolve() == store.resolve():
        raise UsageError(f"{option} {path} is the store; give another file, such as {example}")
    if _is_store(path):
        raise UsageError(f"{option} {path} is a store; give another file, such as {example}")
    if path.is_dir():
        raise UsageError(f"{option} {path} is a folder; give a file, such as {path}/{example}")
    wanted = Path(example).suffix
    if path.suffix not in ("", wanted) and path.suffix.lower() in _SUFFIXES:
        raise UsageError(
            f"{option} {path}: what is written is {wanted}, not {path.suffix}; give a name such as "
            f"{path.with_suffix(wanted)}"
        )
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {folder}; make it, or give another")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{option} {path}: {folder} cannot be written to; give another folder")


def _is_store(path: Path) -> bool:
    """Return whether a path is an SQLite file, which may hold hours of results."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"


def write_output_file(path: Path, content: bytes) -> None:
    """Write `content` to `path` through a temporary file next to it and a rename.

    Raises:
        BatchlabError: the folder is missing or read-only, `path` is a folder, the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    if path.is_dir():
        raise BatchlabError(
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
        problem, remedy = error.strerror, "free some space"
        if not path.parent.is_dir():
            problem, remedy = f"there is no folder {path.parent}", "make that folder"
        raise BatchlabError(
            f"cannot write {path} ({len(content)} bytes): {problem}; what was there before is "
            f"unchanged; {remedy} or give another path"
        ) from error


def write_output_files(path: Path, contents: Mapping[str, bytes]) -> tuple[Path, ...]:
    """Write a file for each of `contents` next to `path`: `report.svg` gives `report-b-epochs.svg`.

    Raises:
        BatchlabError: a file cannot be written.
    """
    files = {path.with_name(f"{path.stem}-{name}{path.suffix}"): c for name, c in contents.items()}
    for file, content in files.items():
        write_output_file(file, content)
    return tuple(files)
