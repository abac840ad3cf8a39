"""The embedded files: complete and intact, and what is made of them: MNIST and a novel."""

from __future__ import annotations

import gzip
import hashlib
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchlab.datasets.embedded import (
    SHA256,
    Mnist,
    as_ids,
    embedded_bytes,
    load_mnist,
    load_moby_dick,
)
from batchlab.errors import DatasetError

MD5_UNPACKED = {
    "train-images-idx3-ubyte.gz": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte.gz": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte.gz": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte.gz": "27ae3e4e09519cfbb04c329615203637",
}


@pytest.mark.parametrize("name", MD5_UNPACKED)
def test_an_unpacked_mnist_file_is_the_original(name: str) -> None:
    content = embedded_bytes(name)

    assert hashlib.md5(content, usedforsecurity=False).hexdigest() == MD5_UNPACKED[name]


def test_every_embedded_file_is_in_the_table_and_they_stay_below_13_mb() -> None:
    files = list(resources.files("batchlab.datasets").joinpath("embedded").iterdir())

    assert sorted(file.name for file in files) == sorted(SHA256)
    assert sum(len(file.read_bytes()) for file in files) < 13e6


def test_a_file_that_the_installation_lacks_is_named() -> None:
    with pytest.raises(DatasetError, match=r"emnist\.gz: this installation"):
        embedded_bytes("emnist.gz")


@pytest.fixture(scope="module")
def split() -> Mnist:
    return load_mnist()


@pytest.mark.slow
def test_validation_is_the_last_10_000_training_images(split: Mnist) -> None:
    whole = load_mnist(n_validation=0)

    assert split.validation is not None
    for part in (0, 1):
        joined = np.concatenate([split.train[part], split.validation[part]])
        assert np.array_equal(joined, whole.train[part])


def test_no_two_splits_share_memory(split: Mnist) -> None:
    assert split.validation is not None
    for part in (0, 1):
        assert not np.shares_memory(split.train[part].base, split.validation[part])
        assert not np.shares_memory(split.train[part].base, split.test[part])


@pytest.mark.parametrize("n_validation", [-1, 60_000])
def test_an_impossible_split_is_refused(n_validation: int) -> None:
    with pytest.raises(DatasetError, match=f"n_validation={n_validation}; expected 0 to 59999"):
        load_mnist(n_validation=n_validation)


def test_an_embedded_file_that_was_changed_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = "train-images-idx3-ubyte.gz"
    content = bytearray(embedded_bytes(name))
    content[-1] ^= 1
    (tmp_path / name).write_bytes(gzip.compress(bytes(content)))
    monkeypatch.setattr(resources, "files", lambda _: FolderOf(tmp_path))

    with pytest.raises(DatasetError, match="SHA-256"):
        load_mnist()


class FolderOf:
    """Stands for the installed package: its folder `embedded` is another one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def joinpath(self, _: str, name: str) -> Path:
        return self.folder / name


def test_the_numbers_spell_the_novel() -> None:
    novel = embedded_bytes("moby_dick.txt.gz").decode("utf-8")

    text = load_moby_dick()

    assert "".join(map(text.vocabulary.__getitem__, text.ids.tolist())) == novel
    assert novel.startswith("CHAPTER 1. Loomings.\n\nCall me Ishmael.")


@given(st.text(alphabet="aZ0 \n—é\U0001f40b", min_size=1))
def test_any_text_is_spelled_by_its_numbers(text: str) -> None:
    numbered = as_ids(text)

    assert "".join(numbered.vocabulary[i] for i in numbered.ids) == text
    assert numbered.vocabulary == "".join(sorted(set(text)))
