"""Readers: files of numbers, images and text, checked while they are read."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import math
import struct
import zlib
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import DTypeLike, NDArray

from batchlab.errors import DatasetError

Stream = io.BufferedReader | gzip.GzipFile

_GZIP_MAGIC = b"\x1f\x8b"


@contextmanager
def open_data_file(path: Path, *, sha256: str | None = None) -> Iterator[Stream]:
    """Yield a stream of the file's content; gzip is known by its first bytes, not by its name.

    Raises:
        DatasetError: the file is missing or unreadable, its bytes on the disk have another
            checksum, or its gzip turns out to be truncated or corrupt, here or while it is read.
    """
    try:
        with path.open("rb") as raw:
            if sha256 is not None:
                digest = hashlib.file_digest(raw, "sha256").hexdigest()
                if digest != sha256:
                    raise DatasetError(
                        f"{path}: SHA-256 is {digest}, expected {sha256}: the file is not the one "
                        "it should be; copy or download it again"
                    )
                raw.seek(0)
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


def _unreadable(path: Path, error: OSError) -> DatasetError:
    return DatasetError(
        f"{path}: cannot be read ({error.strerror}); give the path of a readable file"
    )


Arrays = tuple[NDArray[Any], NDArray[Any]]

_FLOAT32_MAX = float(np.finfo(np.float32).max)


def read_npz(path: Path | str, *, features: str = "x", target: str = "y") -> Arrays:
    """Return two arrays of an `.npz`; nothing in the file is ever unpickled.

    Args:
        path: a file written by `numpy.savez` or `numpy.savez_compressed`.
        features: name of the array of inputs, shape (n, ...).
        target: name of the array of targets, shape (n, ...).

    Returns:
        Features and target with their own types, in the machine's byte order.

    Raises:
        DatasetError: a file that is missing or no `.npz`, a name that it lacks, an array of
            objects or of anything but numbers, no examples, different numbers of them, or
            values that are not finite; the message names file, array and what was found.
    """
    path = Path(path)
    try:
        archive = np.load(path, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise DatasetError(
                f"{path}: holds one array without a name (.npy), expected an .npz; write it "
                f"with numpy.savez(path, {features}=..., {target}=...)"
            )
        with archive:
            arrays = tuple(_npz_array(path, archive, name) for name in (features, target))
    except (ValueError, EOFError, RuntimeError, BadZipFile, zlib.error) as error:
        raise DatasetError(
            f"{path}: is no intact .npz ({(str(error) or repr(error)).splitlines()[0]}); write it "
            f"with numpy.savez(path, {features}=..., {target}=...)"
        ) from error
    except OSError as error:
        raise _unreadable(path, error) from error
    _check_lengths(path, {features: len(arrays[0]), target: len(arrays[1])})
    return arrays[0], arrays[1]


def read_csv(path: Path | str, *, target: str, features: Sequence[str] | None = None) -> Arrays:
    """Return columns of a `.csv` (plain or gzip, UTF-8, commas) whose first row names them.

    Args:
        path: the file.
        target: the column to predict.
        features: the columns to predict it from, in this order; None for all others in file order.

    Returns:
        Features, float32 of shape (n, number of features), and target of shape (n,): int64
        if every entry is written as a whole number (classes), else float32.

    Raises:
        DatasetError: a file that is missing, empty, not UTF-8 or without a header; a column
            that is missing or named twice; a row with too few or too many cells; a cell that is
            no finite number. The message names file, line and column.
    """
    path = Path(path)
    with open_data_file(path) as stream:
        try:
            # "-sig" drops the byte order mark that spreadsheets write before the header.
            lines = csv.reader(TextIOWrapper(stream, encoding="utf-8-sig", newline=""))
            header = _csv_header(path, next(lines, []))
            columns = _csv_columns(path, header, target=target, features=features)
            return _csv_values(path, lines, header=header, columns=columns, target=target)
        except UnicodeDecodeError as error:
            raise DatasetError(
                f"{path}: is not UTF-8 text (byte {error.object[error.start]:#04x}); "
                "save it as CSV in UTF-8"
            ) from error
        except csv.Error as error:
            raise DatasetError(
                f"{path}, line {lines.line_num}: is no CSV ({error}); save it again as CSV"
            ) from error


def _npz_array(path: Path, archive: Any, name: str) -> NDArray[Any]:
    """Return the array called `name`, if it holds finite numbers."""
    if name not in archive.files:
        raise DatasetError(
            f"{path}: has no array {name!r}; it has {', '.join(archive.files) or 'none'}; "
            "say which ones to read"
        )
    values = archive[name]  # an array of objects raises a ValueError
    if not isinstance(values, np.ndarray):
        raise DatasetError(f"{path}: {name!r} is no array; write it with numpy.savez")
    if values.dtype.kind not in "buif" or values.ndim == 0:
        raise DatasetError(
            f"{path}: array {name!r} has type {values.dtype} and shape {values.shape}; "
            "expected numbers with examples first"
        )
    finite = np.isfinite(values)
    if not finite.all():
        row = int(np.argwhere(~finite)[0][0])
        raise DatasetError(
            f"{path}: array {name!r} holds {int((~finite).sum())} values that are not finite, the "
            f"first at index {row}; fill or leave out those examples"
        )
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _check_lengths(path: Path, n_by_name: dict[str, int]) -> None:
    """Refuse data without examples, and features and target of different lengths."""
    lengths = " and ".join(f"{n} in {name!r}" for name, n in n_by_name.items())
    if len(set(n_by_name.values())) > 1:
        raise DatasetError(f"{path}: has {lengths}; expected as many targets as examples")
    if 0 in n_by_name.values():
        raise DatasetError(f"{path}: holds no examples ({lengths}); expected at least one")


def _csv_header(path: Path, header: list[str]) -> list[str]:
    names = [name.strip() for name in header]
    if not any(names):
        raise DatasetError(f"{path}, line 1: is empty; expected a row with the columns' names")
    if all(_number(name) is not None for name in names):
        raise DatasetError(
            f"{path}, line 1: holds only numbers ({', '.join(names[:3])}, ...); expected a row "
            "with the columns' names: add one"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DatasetError(f"{path}, line 1: names column {twice[0]!r} twice; rename one of them")
    return names


def _csv_columns(
    path: Path, header: list[str], *, target: str, features: Sequence[str] | None
) -> list[int]:
    """Return the places of the feature columns, and check that the target has one too."""
    wanted = [name for name in header if name != target] if features is None else list(features)
    for name in (target, *wanted):
        if name not in header:
            raise DatasetError(f"{path}: has no column {name!r}; it has {', '.join(header)}")
    if not wanted or target in wanted:
        raise DatasetError(
            f"{path}: features are {', '.join(wanted) or 'none'} and the target is {target!r}; "
            "expected at least one feature, and the target not among them"
        )
    return [header.index(name) for name in wanted]


def _csv_values(
    path: Path, lines: Any, *, header: list[str], columns: list[int], target: str
) -> Arrays:
    """Return features and target of all rows after the header, leaving out blank rows."""
    features, targets, classes = array("f"), array("d"), array("q")
    place = header.index(target)
    for row in filter(None, lines):
        line = f"{path}, line {lines.line_num}"
        if len(row) != len(header):
            raise DatasetError(
                f"{line}: has {len(row)} cells, expected {len(header)} as in the header; complete "
                "the row or leave it out"
            )
        for at in columns:
            features.append(_finite(row[at], f"{line}, column {header[at]!r}"))
        targets.append(_finite(row[place], f"{line}, column {target!r}"))
        if _is_whole(row[place]):
            classes.append(int(row[place]))
    _check_lengths(path, {target: len(targets)})
    x = np.frombuffer(features, dtype=np.float32).reshape(-1, len(columns))
    if len(classes) == len(targets):
        return x, np.frombuffer(classes, dtype=np.int64)
    return x, np.frombuffer(targets, dtype=np.float64).astype(np.float32)


def _finite(cell: str, where: str) -> float:
    number = _number(cell)
    if number is None or not abs(number) <= _FLOAT32_MAX:
        raise DatasetError(
            f"{where}: holds {cell!r}, expected a finite number (as float32); turn words into "
            "numbers, and fill or leave out what is missing"
        )
    return number


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _is_whole(cell: str) -> bool:
    """Return whether the cell is written as a whole number that an int64 holds."""
    try:
        return -(2**63) <= int(cell) < 2**63
    except ValueError:
        return False


# The keys are the third byte of the magic number; values are big-endian.
_DTYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}


def read_idx(
    path: Path | str,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
    sha256: str | None = None,
) -> NDArray[Any]:
    """Return the array in an IDX file, plain or gzip.

    Args:
        path: the file.
        shape: the shape it must have, or None for any.
        dtype: the type its values must have, or None for any of IDX's six.
        sha256: the checksum that the file must have on the disk, or None for any.

    Returns:
        A writable array of the file's shape, in the machine's byte order.

    Raises:
        DatasetError: a missing or unreadable file, a wrong magic number, type, shape or
            checksum, fewer or more values than the header says; the message names the file,
            what was found and what was expected.
    Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", file formats.
    """
    path = Path(path)
    with open_data_file(path, sha256=sha256) as stream:
        content = bytearray(stream.read())
    found_dtype, found_shape, start = _idx_header(path, content)
    if dtype is not None and found_dtype.newbyteorder("=") != np.dtype(dtype):
        raise DatasetError(
            f"{path}: holds {found_dtype.name}, expected {np.dtype(dtype).name}; check that this "
            "is the right file"
        )
    if shape is not None and found_shape != shape:
        raise DatasetError(
            f"{path}: has shape {found_shape}, expected {shape}; check that this is the right file"
        )
    n_bytes, n_found = math.prod(found_shape) * found_dtype.itemsize, len(content) - start
    promise = f"shape {found_shape} of {found_dtype.name}, {n_bytes} bytes"
    if n_found < n_bytes:
        raise DatasetError(
            f"{path}: its header promises {promise}, but only {n_found} follow, so it is "
            "truncated; copy or download it again"
        )
    if n_found > n_bytes:
        raise DatasetError(
            f"{path}: more bytes follow than the {promise} that its header promises; the file is "
            "corrupt: copy or download it again"
        )
    values = np.frombuffer(content, dtype=found_dtype, offset=start).reshape(found_shape)
    return values.astype(found_dtype.newbyteorder("="), copy=False)


def _idx_header(path: Path, content: bytearray) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Return type and shape, and where the values begin."""
    magic = content[:4]
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES or magic[3] == 0:
        raise DatasetError(
            f"{path}: starts with the bytes {magic.hex(' ') or '(none)'}, expected an IDX magic "
            "number: 00 00, a type (08, 09 or 0b to 0e) and the number of dimensions; "
            "check that this is an IDX file"
        )
    start = 4 + 4 * magic[3]
    if len(content) < start:
        raise DatasetError(
            f"{path}: ends inside its header of {magic[3]} dimensions, so it is truncated; "
            "copy or download it again"
        )
    return _DTYPES[magic[2]], struct.unpack(f">{magic[3]}I", content[4:start]), start
