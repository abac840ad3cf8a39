"""A user's own files: what they hold comes out, and what is wrong is named with its place."""

from __future__ import annotations

import csv
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
