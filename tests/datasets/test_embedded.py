"""The embedded files, and what is made of them: MNIST and a novel."""

import hashlib
from importlib import resources

import numpy as np
import pytest

from batchlab.datasets.embedded import embedded_bytes, load_mnist, load_moby_dick

MD5_UNPACKED = {
    "train-images-idx3-ubyte.gz": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte.gz": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte.gz": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte.gz": "27ae3e4e09519cfbb04c329615203637",
}


def test_the_embedded_files_stay_below_13_mb_and_mnist_is_the_original():
    files = list(resources.files("batchlab.datasets").joinpath("embedded").iterdir())

    assert sum(len(file.read_bytes()) for file in files) < 13e6
    for name, known in MD5_UNPACKED.items():
        assert hashlib.md5(embedded_bytes(name), usedforsecurity=False).hexdigest() == known


@pytest.mark.slow
def test_validation_is_the_last_10_000_training_images_and_no_two_splits_share_memory():
    whole, split = load_mnist(n_validation=0), load_mnist()

    for part in (0, 1):
        joined = np.concatenate([split["train"][part], split["validation"][part]])
        assert np.array_equal(joined, whole["train"][part])
        assert not np.shares_memory(split["train"][part].base, split["validation"][part])
        assert not np.shares_memory(split["train"][part].base, split["test"][part])


def test_the_numbers_spell_the_novel():
    novel = embedded_bytes("moby_dick.txt.gz").decode("utf-8")

    ids, vocabulary = load_moby_dick()

    assert "".join(map(vocabulary.__getitem__, ids.tolist())) == novel
    assert vocabulary == "".join(sorted(set(novel)))
    assert novel.startswith("CHAPTER 1. Loomings.\n\nCall me Ishmael.")
