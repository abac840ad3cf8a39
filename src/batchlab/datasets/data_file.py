"""Data file: its bytes, unpacked where it is gzip, its checksum; what is wrong names the file."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batchlab.errors import DatasetError

Stream = io.BufferedReader | gzip.GzipFile

_GZIP_MAGIC = b"\x1f\x8b"


@contextmanager
def open_data_file(path: Path) -> Iterator[Stream]:
    """A stream of the file's content; gzip is known by its first bytes, not by its name.

    Args:
        path: the file.

    Yields:
        The stream, at its first byte.

    Raises:
        DatasetError: the file is missing or unreadable, or its gzip is truncated or corrupt,
            seen here or while the stream is read.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
            raw.seek(0)
            yield gzip.GzipFile(fileobj=raw) if packed else raw
    except EOFError as error:
        raise DatasetError(
            f"{path}: the gzip stream ends too early, so the file is truncated; "
            "copy or download it again"
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DatasetError(
            f"{path}: the gzip stream is corrupt ({error}); copy or download it again"
        ) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def check_sha256(path: Path, expected: str) -> None:
    """Refuse a file whose bytes, as they lie on the disk, have another SHA-256.

    Args:
        path: the file.
        expected: 64 hexadecimal digits.

    Raises:
        DatasetError: the checksum differs, and the message shows both; or the file cannot be read.
    """
    try:
        with path.open("rb") as raw:
            found = hashlib.file_digest(raw, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error
    if found != expected:
        raise DatasetError(
            f"{path}: SHA-256 is {found}, expected {expected}: the file is not the one it "
            "should be; copy or download it again"
        )


def _unreadable(path: Path, error: OSError) -> DatasetError:
    return DatasetError(
        f"{path}: cannot be read ({error.strerror}); give the path of a readable file"
    )
