"""The embedded files: complete and intact, and what is made of them: MNIST and a novel."""

from __future__ import annotations

import gzip
import hashlib
from contextlib import nullcontext
from importlib import resources

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchlab.datasets import embedded
from batchlab.datasets.embedded import (
    SHA256,
    Mnist,
    as_ids,
    embedded_file,
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


def unpacked(name: str) -> bytes:
    with embedded_file(name) as path:
        return gzip.decompress(path.read_bytes())


@pytest.mark.parametrize("name", MD5_UNPACKED)
def test_an_unpacked_mnist_file_is_the_original(name):
    assert hashlib.md5(unpacked(name), usedforsecurity=False).hexdigest() == MD5_UNPACKED[name]


def test_every_embedded_file_is_in_the_table_and_they_stay_below_13_mb():
    files = list(resources.files("batchlab.datasets").joinpath("embedded").iterdir())

    assert sorted(file.name for file in files) == sorted(SHA256)
    assert sum(len(file.read_bytes()) for file in files) < 13e6


def test_a_file_that_the_installation_lacks_is_named():
    with (
        pytest.raises(DatasetError, match=r"emnist\.gz: this installation"),
        embedded_file("emnist.gz"),
    ):
        pass


@pytest.fixture(scope="module")
def split() -> Mnist:
    return load_mnist()


def test_validation_is_the_last_10_000_training_images(split):
    whole = load_mnist(n_validation=0)

    for kept, held, both in zip(split.train, split.validation, whole.train, strict=True):
        assert np.array_equal(np.concatenate([kept, held]), both)


def test_no_two_splits_share_memory(split):
    for train, validation, test in zip(split.train, split.validation, split.test, strict=True):
        assert not np.shares_memory(train.base, validation)
        assert not np.shares_memory(train.base, test)


@pytest.mark.parametrize("n_validation", [-1, 60_000])
def test_an_impossible_split_is_refused(n_validation):
    with pytest.raises(DatasetError, match=f"n_validation={n_validation}; expected 0 to 59999"):
        load_mnist(n_validation=n_validation)


def test_an_embedded_file_that_was_changed_is_refused(monkeypatch, tmp_path):
    content = bytearray(unpacked("train-labels-idx1-ubyte.gz"))
    content[-1] ^= 1
    changed = tmp_path / "changed.gz"
    changed.write_bytes(gzip.compress(bytes(content)))
    monkeypatch.setattr(embedded, "embedded_file", lambda name: nullcontext(changed))

    with pytest.raises(DatasetError, match="SHA-256"):
        load_mnist()


def test_the_numbers_spell_the_novel():
    novel = unpacked("moby_dick.txt.gz").decode()

    text = load_moby_dick()

    assert "".join(map(text.vocabulary.__getitem__, text.ids.tolist())) == novel
    assert novel.startswith("CHAPTER 1. Loomings.\n\nCall me Ishmael.")


@given(st.text(alphabet="aZ0 \n—é\U0001f40b", min_size=1))
def test_any_text_is_spelled_by_its_numbers(text):
    numbered = as_ids(text)

    assert "".join(numbered.vocabulary[i] for i in numbered.ids) == text
    assert numbered.vocabulary == "".join(sorted(set(text)))
