"""A user's own files: what they hold comes out, and what is wrong is named with its place."""

from __future__ import annotations

import csv
import gzip
import hashlib
import math
import struct
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchlab.datasets.readers import read_csv, read_idx, read_npz
from batchlab.errors import DatasetError

X = np.arange(12, dtype=np.float32).reshape(4, 3)
Y = np.array([0, 1, 1, 0])


def npz(folder: Path, **arrays: Any) -> Path:
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return path


def csv_file(folder: Path, text: str | bytes) -> Path:
    path = folder / "data.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("read", [read_idx, read_npz, partial(read_csv, target="y")])
@pytest.mark.parametrize("name", ["missing", "."])
def test_a_missing_file_or_a_folder_is_named(name, read, tmp_path):
    with pytest.raises(DatasetError, match="cannot be read") as caught:
        read(tmp_path / name)

    assert str(tmp_path / name) in str(caught.value)


# NumPy


@pytest.mark.parametrize("given_x", [X, X.astype(">f4")], ids=["own", "other byte order"])
def test_arrays_of_an_npz_come_out_as_they_went_in(given_x, tmp_path):
    x, y = read_npz(npz(tmp_path, x=given_x, y=Y))

    assert (x.dtype, y.dtype) == (X.dtype, Y.dtype)
    assert np.array_equal(x, X)
    assert np.array_equal(y, Y)


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (self.mark.touch, ())


def test_an_array_of_objects_is_refused_and_not_unpickled(tmp_path):
    path = npz(tmp_path, x=np.array([Trap(tmp_path / "sprung")] * 4, dtype=object), y=Y)

    with pytest.raises(DatasetError, match=r"data\.npz: is no intact .*[Oo]bject arrays"):
        read_npz(path)

    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X, "labels": Y}, "no array 'y'; it has x, labels"),
        ({"x": X, "y": Y[:3]}, "has 4 in 'x' and 3 in 'y'; expected as many targets as examples"),
        ({"x": X[:0], "y": Y[:0]}, "holds no examples"),
        ({"x": np.array(["a"] * 4), "y": Y}, "array 'x' has type <U1 and shape .4,.; expected"),
        (
            {"x": np.where(X > 6, [np.nan, 1, np.inf], X), "y": Y},
            "3 values that are not finite, the first at index 2",
        ),
    ],
)
def test_what_an_npz_lacks_is_named(arrays, message, tmp_path):
    with pytest.raises(DatasetError, match=message):
        read_npz(npz(tmp_path, **arrays))


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_truncated_npz_or_an_array_without_a_name_is_refused(kept, tmp_path):
    path = npz(tmp_path, x=X, y=Y)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    np.save(tmp_path / "data.npy", X)

    with pytest.raises(DatasetError, match=r"data\.npz: is no intact"):
        read_npz(path)
    with pytest.raises(DatasetError, match=r"expected an \.npz"):
        read_npz(tmp_path / "data.npy")


# CSV


@pytest.mark.parametrize(
    ("text", "features", "x", "y", "kind"),
    [
        ("a,y,b\n1,0,2.5\n-3e2,1,4\n", None, [[1, 2.5], [-300, 4]], [0, 1], np.int64),
        ("a,y\n1,2\n1,0.5\n1,3\n", None, [[1], [1], [1]], [2, 0.5, 3], np.float32),
        # A column that is not asked for may hold words.
        ("name,a,y\nAhab,1,0\n", ["a"], [[1]], [0], np.int64),
        # The habits of spreadsheets.
        ('\ufeff"a", y\r\n"1",2\r\n\r\n', ["a"], [[1]], [2], np.int64),
    ],
)
def test_the_target_is_taken_out_and_the_rest_are_features(text, features, x, y, kind, tmp_path):
    found_x, found_y = read_csv(csv_file(tmp_path, text), target="y", features=features)

    assert (found_x.dtype, found_y.dtype) == (np.float32, kind)
    assert (found_x.tolist(), found_y.tolist()) == (x, y)


NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(rows=st.lists(st.tuples(NUMBERS, NUMBERS, st.integers(-(2**63), 2**63 - 1)), min_size=1))
def test_any_numbers_that_were_written_are_read(folder, rows):
    path = folder / "any.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("a", "b", "y"), *rows])

    x, y = read_csv(path, target="y")

    assert x.tolist() == [[a, b] for a, b, _ in rows]
    assert y.tolist() == [target for *_, target in rows]


@pytest.mark.parametrize(
    ("text", "asked", "message"),
    [
        *(
            (f"a,b,y\n1,2,0\n1,{cell},0\n", {}, f"line 3, column 'b': holds '{cell}', expected a")
            for cell in ("", "cat", "nan", "inf", "1e39", "1;2")
        ),
        ("a,b,y\n1,2\n", {}, "line 2: has 2 cells, expected 3"),
        ("a,b,y\n1,2,3,4\n", {}, "line 2: has 4 cells, expected 3"),
        ("a,y\n1,2\n", {"target": "z"}, "no column 'z'; it has a, y"),
        ("a,y\n1,2\n", {"features": ["a", "z"]}, "no column 'z'; it has a, y"),
        ("a,y\n1,2\n", {"features": ["y"]}, "expected at least one feature, and the target not"),
        ("", {}, "line 1: is empty"),
        ("1,2\n3,4\n", {}, "line 1: holds only numbers"),
        ("a,a,y\n1,2,3\n", {}, "names column 'a' twice"),
        ("a,y\n", {}, "holds no examples"),
        (b"a,y\n\xff,1\n", {}, "not UTF-8 text (byte 0xff"),
        (b"a,y\n" + b"1" * 200_000 + b",2\n", {}, "line 2: is no CSV"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
def test_what_is_wrong_in_a_csv_is_named_with_its_place(text, asked, message, tmp_path):
    path = csv_file(tmp_path, text)

    with pytest.raises(DatasetError) as caught:
        read_csv(path, **{"target": "y"} | asked)

    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


# IDX: each type of values, by the third byte of a file.
FORMATS = {0x08: "B", 0x09: "b", 0x0B: "h", 0x0C: "i", 0x0D: "f", 0x0E: "d"}


def idx_bytes(code: int, shape: list[int], body: bytes) -> bytes:
    return bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + body


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@st.composite
def idx_files(draw: st.DrawFn) -> tuple[bytes, list[int], tuple[float, ...]]:
    """Any intact file, its shape and values: one to four dimensions, also empty ones."""
    code = draw(st.sampled_from(sorted(FORMATS)))
    shape = draw(st.lists(st.integers(0, 4), min_size=1, max_size=4))
    layout = f">{math.prod(shape)}{FORMATS[code]}"
    n = struct.calcsize(layout)
    body = draw(st.binary(min_size=n, max_size=n))
    return idx_bytes(code, shape, body), shape, struct.unpack(layout, body)


@given(
    file=idx_files(),
    packed=st.booleans(),
    cut=st.floats(0, 1, exclude_max=True),
    rest=st.binary(min_size=1, max_size=9),
)
def test_any_intact_file_is_read_and_none_that_is_truncated_or_too_long(
    folder, file, packed, cut, rest
):
    content, shape, values = file
    path = folder / "any"

    def read(content: bytes, kept: float = 1.0) -> Any:
        stored = gzip.compress(content) if packed else content
        path.write_bytes(stored[: int(len(stored) * kept)])
        return read_idx(path)

    array = read(content)
    assert list(array.shape) == shape
    np.testing.assert_array_equal(array.ravel(), np.array(values, dtype=array.dtype))
    with pytest.raises(DatasetError, match=r"is truncated|magic number"):
        read(content, kept=cut)
    with pytest.raises(DatasetError, match="more bytes follow"):
        read(content + rest)


@pytest.mark.parametrize(
    "magic",
    [b"", b"\0\0\x08", b"\0\1\x08\1", b"\0\0\x07\1", b"\0\0\x0a\1", b"\0\0\x08\0", b"PK\x03\x04"],
)
def test_a_wrong_magic_number_is_shown(magic, folder):
    path = folder / "magic"
    path.write_bytes(magic + bytes(8) if len(magic) == 4 else magic)

    with pytest.raises(DatasetError, match="magic number") as caught:
        read_idx(path)

    assert str(path) in str(caught.value)
    assert (magic.hex(" ") or "(none)") in str(caught.value)


def test_a_header_that_promises_the_impossible_asks_for_no_memory(folder):
    path = folder / "huge"
    path.write_bytes(bytes([0, 0, 0x0E, 4]) + b"\xff" * 16 + bytes(8))

    with pytest.raises(DatasetError, match="but only 8 follow, so it is truncated"):
        read_idx(path)


SMALL = idx_bytes(0x08, [2, 3], bytes([0, 1, 2, 253, 254, 255]))


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"shape": (3, 2)}, "has shape (2, 3), expected (3, 2)"),
        ({"dtype": np.float32}, "holds uint8, expected float32"),
        (
            {"sha256": "0" * 64},
            f"SHA-256 is {hashlib.sha256(SMALL).hexdigest()}, expected {'0' * 64}",
        ),
    ],
)
def test_what_is_other_than_expected_is_named(expected, message, folder):
    path = folder / "small"
    path.write_bytes(SMALL)

    with pytest.raises(DatasetError) as caught:
        read_idx(path, **expected)

    assert message in str(caught.value)


@pytest.mark.parametrize("place", [12, -5])  # in the deflated data, in the stored CRC
def test_one_flipped_bit_in_a_gzip_is_seen_without_a_checksum(place, folder):
    whole = bytearray(gzip.compress(idx_bytes(0x08, [64], bytes(range(64)))))
    whole[place] ^= 0x10
    path = folder / "flipped.gz"
    path.write_bytes(whole)

    with pytest.raises(DatasetError, match=r"flipped\.gz"):
        read_idx(path)
