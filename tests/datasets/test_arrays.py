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
from tests.reference.idx import FORMATS, idx_bytes, idx_values

from batchlab.datasets.readers import read_csv, read_idx, read_npz
from batchlab.errors import DatasetError

X = np.arange(12, dtype=np.float32).reshape(4, 3)
Y = np.array([0, 1, 1, 0])


def npz(folder: Path, **arrays: Any) -> Path:
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return path


def csv_file(folder: Path, text: str) -> Path:
    path = folder / "data.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return path


class TestNpz:
    def test_arrays_come_out_as_they_went_in(self, tmp_path: Path) -> None:
        x, y = read_npz(npz(tmp_path, x=X, y=Y))

        assert (x.dtype, y.dtype) == (X.dtype, Y.dtype)
        assert np.array_equal(x, X)
        assert np.array_equal(y, Y)

    def test_another_byte_order_becomes_that_of_the_machine(self, tmp_path: Path) -> None:
        x, _ = read_npz(npz(tmp_path, x=X.astype(">f4"), y=Y))

        assert x.dtype.isnative
        assert np.array_equal(x, X)

    def test_an_array_of_objects_is_refused_and_not_unpickled(self, tmp_path: Path) -> None:
        path = npz(tmp_path, x=np.array([Trap(tmp_path / "sprung")] * 4, dtype=object), y=Y)

        with pytest.raises(DatasetError, match=r"data\.npz: is no intact .*[Oo]bject arrays"):
            read_npz(path)

        assert not (tmp_path / "sprung").exists()

    def test_a_name_that_it_lacks_is_answered_with_those_it_has(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match="no array 'y'; it has x, labels"):
            read_npz(npz(tmp_path, x=X, labels=Y))

    def test_the_first_value_that_is_not_finite_is_named(self, tmp_path: Path) -> None:
        x = X.copy()
        x[2, 1], x[3, 0] = np.nan, np.inf

        with pytest.raises(
            DatasetError, match="2 values that are not finite, the first at index 2"
        ):
            read_npz(npz(tmp_path, x=x, y=Y))

    @pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
    def test_a_truncated_file_is_refused(self, tmp_path: Path, kept: float) -> None:
        path = npz(tmp_path, x=X, y=Y)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * kept)])

        with pytest.raises(DatasetError, match=r"data\.npz: is no intact"):
            read_npz(path)

    def test_a_single_array_without_a_name_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "data.npy"
        np.save(path, X)

        with pytest.raises(DatasetError, match=r"expected an \.npz"):
            read_npz(path)


class TestCsv:
    def test_the_target_is_taken_out_and_the_rest_are_features(self, tmp_path: Path) -> None:
        x, y = read_csv(csv_file(tmp_path, "a,class,b\n1,0,2.5\n-3e2,1,4\n"), target="class")

        assert x.tolist() == [[1, 2.5], [-300, 4]]
        assert y.tolist() == [0, 1]
        assert (x.dtype, y.dtype) == (np.float32, np.int64)

    def test_a_target_with_a_fraction_is_float32_throughout(self, tmp_path: Path) -> None:
        _, y = read_csv(csv_file(tmp_path, "a,y\n1,2\n1,0.5\n1,3\n"), target="y")

        assert (y.dtype, y.tolist()) == (np.float32, [2, 0.5, 3])

    def test_a_column_that_is_not_asked_for_may_hold_words(self, tmp_path: Path) -> None:
        path = csv_file(tmp_path, "name,a,y\nAhab,1,0\n")

        assert read_csv(path, target="y", features=["a"])[0].tolist() == [[1]]

    def test_spreadsheets_habits_are_understood(self, tmp_path: Path) -> None:
        path = csv_file(tmp_path, '\ufeff"a", y\r\n"1",2\r\n\r\n')

        x, y = read_csv(path, target="y", features=["a"])

        assert (x.tolist(), y.tolist()) == ([[1]], [2])

    @given(
        rows=st.lists(
            st.tuples(
                st.floats(width=32, allow_nan=False, allow_infinity=False),
                st.floats(width=32, allow_nan=False, allow_infinity=False),
                st.integers(-(2**63), 2**63 - 1),
            ),
            min_size=1,
        )
    )
    def test_any_numbers_that_were_written_are_read(
        self, tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, float, int]]
    ) -> None:
        path = tmp_path_factory.getbasetemp() / "any.csv"
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([("a", "b", "y"), *rows])

        x, y = read_csv(path, target="y")

        assert x.tolist() == [[a, b] for a, b, _ in rows]
        assert y.tolist() == [target for *_, target in rows]

    @pytest.mark.parametrize("cell", ["", "cat", "nan", "inf", "1e39", "1;2"])
    def test_a_cell_that_is_no_finite_number_is_named_by_line_and_column(
        self, tmp_path: Path, cell: str
    ) -> None:
        path = csv_file(tmp_path, f"a,b,y\n1,2,0\n1,{cell},0\n")

        with pytest.raises(DatasetError, match=r"data\.csv, line 3, column 'b': holds") as caught:
            read_csv(path, target="y")

        assert repr(cell) in str(caught.value)

    @pytest.mark.parametrize(("row", "n"), [("1,2", 2), ("1,2,3,4", 4)])
    def test_a_row_of_another_length_is_named(self, tmp_path: Path, row: str, n: int) -> None:
        with pytest.raises(DatasetError, match=f"line 2: has {n} cells, expected 3"):
            read_csv(csv_file(tmp_path, f"a,b,y\n{row}\n"), target="y")

    @pytest.mark.parametrize("asked", [{"target": "z"}, {"target": "y", "features": ["a", "z"]}])
    def test_a_column_that_is_missing_is_answered_with_those_there_are(
        self, tmp_path: Path, asked: Any
    ) -> None:
        with pytest.raises(DatasetError, match="no column 'z'; it has a, y"):
            read_csv(csv_file(tmp_path, "a,y\n1,2\n"), **asked)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "line 1: is empty"),
            ("1,2\n3,4\n", "line 1: holds only numbers"),
            ("a,a,y\n1,2,3\n", "names column 'a' twice"),
            ("a,y\n", "holds no examples"),
        ],
    )
    def test_a_file_without_a_usable_header_or_rows_is_refused(
        self, tmp_path: Path, text: str, message: str
    ) -> None:
        with pytest.raises(DatasetError, match=message):
            read_csv(csv_file(tmp_path, text), target="y")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"a,y\n\xff,1\n", "not UTF-8 text .byte 0xff"),
            (b"a,y\n" + b"1" * 200_000 + b",2\n", "line 2: is no CSV"),
        ],
    )
    def test_what_is_no_text_or_no_csv_is_refused(
        self, tmp_path: Path, content: bytes, message: str
    ) -> None:
        path = tmp_path / "data.csv"
        path.write_bytes(content)

        with pytest.raises(DatasetError, match=message):
            read_csv(path, target="y")


READERS = (read_idx, read_npz, partial(read_csv, target="y"))


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("name", ["missing", "."])
def test_a_missing_file_or_a_folder_is_named(tmp_path: Path, name: str, read: Any) -> None:
    with pytest.raises(DatasetError, match="cannot be read") as caught:
        read(tmp_path / name)

    assert str(tmp_path / name) in str(caught.value)


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (self.mark.touch, ())


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
