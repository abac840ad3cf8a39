"""The IDX reader: what it reads is what was written, and what is broken is named."""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reference.idx import FORMATS, idx_bytes, idx_values

from batchlab.datasets.readers import read_idx
from batchlab.errors import DatasetError

SMALL = idx_bytes(0x08, [2, 3], [0, 1, 2, 253, 254, 255])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("idx")


@st.composite
def idx_files(draw: st.DrawFn) -> bytes:
    """Any intact file: each type, one to four dimensions, also empty ones."""
    code = draw(st.sampled_from(sorted(FORMATS)))
    shape = draw(st.lists(st.integers(0, 4), min_size=1, max_size=4))
    n = math.prod(shape) * struct.calcsize(FORMATS[code])
    body = draw(st.binary(min_size=n, max_size=n))
    return bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + body


@given(content=idx_files(), packed=st.booleans())
def test_any_intact_file_reads_as_the_slow_reader_reads_it(
    folder: Path, content: bytes, packed: bool
) -> None:
    path = folder / "any"
    path.write_bytes(gzip.compress(content) if packed else content)

    array = read_idx(path)

    shape, values = idx_values(content)
    assert list(array.shape) == shape
    np.testing.assert_array_equal(array.ravel(), np.array(values, dtype=array.dtype))


@given(content=idx_files(), data=st.data(), packed=st.booleans())
def test_no_truncated_file_is_read(
    folder: Path, content: bytes, data: st.DataObject, packed: bool
) -> None:
    whole = gzip.compress(content) if packed else content
    path = folder / "cut"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])

    with pytest.raises(DatasetError, match=r"is truncated|magic number"):
        read_idx(path)


@given(content=idx_files(), rest=st.binary(min_size=1, max_size=9), packed=st.booleans())
def test_no_file_that_is_too_long_is_read(
    folder: Path, content: bytes, rest: bytes, packed: bool
) -> None:
    path = folder / "long"
    path.write_bytes(gzip.compress(content + rest) if packed else content + rest)

    with pytest.raises(DatasetError, match="more bytes follow"):
        read_idx(path)


@pytest.mark.parametrize(
    "magic",
    [b"", b"\0\0\x08", b"\0\1\x08\1", b"\0\0\x07\1", b"\0\0\x0a\1", b"\0\0\x08\0", b"PK\x03\x04"],
)
def test_a_wrong_magic_number_is_shown(folder: Path, magic: bytes) -> None:
    path = folder / "magic"
    path.write_bytes(magic + bytes(8) if len(magic) == 4 else magic)

    with pytest.raises(DatasetError, match="magic number") as caught:
        read_idx(path)

    assert str(path) in str(caught.value)
    assert (magic.hex(" ") or "(none)") in str(caught.value)


def test_a_header_that_promises_the_impossible_asks_for_no_memory(folder: Path) -> None:
    path = folder / "huge"
    path.write_bytes(bytes([0, 0, 0x0E, 4]) + b"\xff" * 16 + bytes(8))

    with pytest.raises(DatasetError, match="but only 8 follow, so it is truncated"):
        read_idx(path)


@pytest.mark.parametrize(
    ("expected", "told"),
    [
        ({"shape": (3, 2)}, "has shape (2, 3), expected (3, 2)"),
        ({"dtype": np.float32}, "holds uint8, expected float32"),
        ({"sha256": "0" * 64}, "0" * 64),
        ({"sha256": "0" * 64}, hashlib.sha256(SMALL).hexdigest()),
    ],
)
def test_what_is_other_than_expected_is_named(
    folder: Path, expected: dict[str, Any], told: str
) -> None:
    path = folder / "small"
    path.write_bytes(SMALL)

    with pytest.raises(DatasetError) as caught:
        read_idx(path, **expected)

    assert told in str(caught.value)


@pytest.mark.parametrize("place", [12, -5])  # in the deflated data, in the stored CRC
def test_one_flipped_bit_in_a_gzip_is_seen_without_a_checksum(folder: Path, place: int) -> None:
    whole = bytearray(gzip.compress(idx_bytes(0x08, [64], list(range(64)))))
    whole[place] ^= 0x10
    path = folder / "flipped.gz"
    path.write_bytes(whole)

    with pytest.raises(DatasetError, match=r"flipped\.gz"):
        read_idx(path)
