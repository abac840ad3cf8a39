"""IDX: the reader of MNIST's file format, which trusts nothing that the header says."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from batchlab.datasets.data_file import Stream, check_sha256, open_data_file
from batchlab.errors import DatasetError

# The third byte of the magic number; values are big-endian.
_DTYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
_CHUNK_BYTES = 2**20
_GZIP_MAX_RATIO = 1032  # deflate packs at most this much; zlib's technical details


def read_idx(
    path: Path | str,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
    sha256: str | None = None,
) -> NDArray[Any]:
    """The array in an IDX file, plain or gzip.

    Args:
        path: the file.
        shape: the shape it must have; None: any.
        dtype: the type its values must have; None: any of IDX's six.
        sha256: the checksum that the file must have as it lies on the disk; None: any.

    Returns:
        A writable array of the file's shape, in the machine's byte order.

    Raises:
        DatasetError: a missing or unreadable file, a wrong magic number, type, shape or
            checksum, fewer or more values than the header says; the message names the file,
            what was found and what was expected.
    Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", file formats.
    """
    path = Path(path)
    with open_data_file(path) as stream:
        found_dtype, found_shape = _read_header(path, stream)
        if dtype is not None and found_dtype.newbyteorder("=") != np.dtype(dtype):
            raise DatasetError(
                f"{path}: holds {found_dtype.name}, expected {np.dtype(dtype).name}; "
                "check that this is the right file"
            )
        if shape is not None and found_shape != shape:
            raise DatasetError(
                f"{path}: has shape {found_shape}, expected {shape}; "
                "check that this is the right file"
            )
        values = _read_values(path, stream, dtype=found_dtype, shape=found_shape)
    if sha256 is not None:
        check_sha256(path, sha256)
    return values.astype(found_dtype.newbyteorder("="), copy=False)


def _read_header(path: Path, stream: Stream) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Type and shape as the header gives them."""
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES or magic[3] == 0:
        raise DatasetError(
            f"{path}: starts with the bytes {magic.hex(' ') or '(none)'}, expected an IDX magic "
            "number: 00 00, a type (08, 09 or 0b to 0e) and the number of dimensions; "
            "check that this is an IDX file"
        )
    n_dimensions = magic[3]
    sizes = stream.read(4 * n_dimensions)
    if len(sizes) < 4 * n_dimensions:
        raise DatasetError(
            f"{path}: ends inside its header of {n_dimensions} dimensions, so it is truncated; "
            "copy or download it again"
        )
    return _DTYPES[magic[2]], struct.unpack(f">{n_dimensions}I", sizes)


def _read_values(
    path: Path, stream: Stream, *, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> NDArray[Any]:
    """The values after the header: as many as it promises, and nothing after them."""
    n_bytes = math.prod(shape) * dtype.itemsize
    promise = f"shape {shape} of {dtype.name}, {n_bytes} bytes"
    if n_bytes > _GZIP_MAX_RATIO * path.stat().st_size:  # before memory is asked for
        raise DatasetError(
            f"{path}: its header promises {promise}, more than a file of "
            f"{path.stat().st_size} bytes can hold, so it is truncated or corrupt; "
            "copy or download it again"
        )
    # Read in pieces into the final memory: unpacked at once, the file would lie there twice.
    raw = np.empty(n_bytes, dtype=np.uint8)
    view, n_read = raw.data, 0
    while n_read < n_bytes:
        n_new = stream.readinto(view[n_read : n_read + _CHUNK_BYTES])
        if n_new == 0:
            raise DatasetError(
                f"{path}: its header promises {promise}, but only {n_read} follow, so it is "
                "truncated; copy or download it again"
            )
        n_read += n_new
    if stream.read(1):  # at a gzip's end this also checks its CRC
        raise DatasetError(
            f"{path}: more bytes follow than the {promise} that its header promises; "
            "the file is corrupt: copy or download it again"
        )
    return raw.view(dtype).reshape(shape)
