"""The embedded files: complete and intact, and what is made of them: MNIST and a novel."""

from __future__ import annotations

import gzip
import hashlib
from importlib import resources
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchlab.datasets.embedded import SHA256, as_ids, embedded_bytes, load_mnist, load_moby_dick
from batchlab.errors import BatchlabError

MD5_UNPACKED = {
    "train-images-idx3-ubyte.gz": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte.gz": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte.gz": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte.gz": "27ae3e4e09519cfbb04c329615203637",
}


def test_every_embedded_file_is_in_the_table_they_stay_below_13_mb_and_mnist_is_the_original():
    files = list(resources.files("batchlab.datasets").joinpath("embedded").iterdir())

    assert sorted(file.name for file in files) == sorted(SHA256)
    assert sum(len(file.read_bytes()) for file in files) < 13e6
    for name, known in MD5_UNPACKED.items():
        assert hashlib.md5(embedded_bytes(name), usedforsecurity=False).hexdigest() == known


def test_what_is_not_there_cannot_be_or_was_changed_is_refused(monkeypatch, tmp_path: Path):
    with pytest.raises(BatchlabError, match=r"emnist\.gz: this installation"):
        embedded_bytes("emnist.gz")
    for n in (-1, 60_000):
        with pytest.raises(BatchlabError, match=f"n_validation={n}; expected 0 to 59999"):
            load_mnist(n_validation=n)
    name = "train-images-idx3-ubyte.gz"
    content = bytearray(embedded_bytes(name))
    content[-1] ^= 1
    (tmp_path / name).write_bytes(gzip.compress(bytes(content), 1))
    installed = SimpleNamespace(joinpath=lambda _, name: tmp_path / name)
    monkeypatch.setattr(resources, "files", lambda _: installed)
    with pytest.raises(BatchlabError, match="SHA-256"):
        load_mnist()


@pytest.mark.slow
def test_validation_is_the_last_10_000_training_images_and_no_two_splits_share_memory():
    whole, split = load_mnist(n_validation=0), load_mnist()

    assert split.validation is not None
    for part in (0, 1):
        joined = np.concatenate([split.train[part], split.validation[part]])
        assert np.array_equal(joined, whole.train[part])
        assert not np.shares_memory(split.train[part].base, split.validation[part])
        assert not np.shares_memory(split.train[part].base, split.test[part])


def test_the_numbers_spell_the_novel():
    novel = embedded_bytes("moby_dick.txt.gz").decode("utf-8")

    text = load_moby_dick()

    assert "".join(map(text.vocabulary.__getitem__, text.ids.tolist())) == novel
    assert novel.startswith("CHAPTER 1. Loomings.\n\nCall me Ishmael.")


@given(st.text(alphabet="aZ0 \n—é\U0001f40b", min_size=1))
def test_any_text_is_spelled_by_its_numbers(text: str):
    numbered = as_ids(text)

    assert "".join(numbered.vocabulary[i] for i in numbered.ids) == text
    assert numbered.vocabulary == "".join(sorted(set(text)))
