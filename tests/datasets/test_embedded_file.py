"""The embedded files: complete, intact, small enough."""

from __future__ import annotations

import gzip
import hashlib
from importlib import resources

import pytest

from batchlab.datasets.embedded import SHA256, embedded_file
from batchlab.errors import DatasetError

MD5_UNPACKED = {
    "train-images-idx3-ubyte.gz": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte.gz": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte.gz": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte.gz": "27ae3e4e09519cfbb04c329615203637",
}


@pytest.mark.parametrize("name", MD5_UNPACKED)
def test_an_unpacked_mnist_file_is_the_original(name: str) -> None:
    with embedded_file(name) as path:
        content = gzip.decompress(path.read_bytes())

    assert hashlib.md5(content, usedforsecurity=False).hexdigest() == MD5_UNPACKED[name]


def test_every_embedded_file_is_in_the_table_and_they_stay_below_13_mb() -> None:
    files = list(resources.files("batchlab.datasets").joinpath("embedded").iterdir())

    assert sorted(file.name for file in files) == sorted(SHA256)
    assert sum(len(file.read_bytes()) for file in files) < 13e6


def test_a_file_that_the_installation_lacks_is_named() -> None:
    with (
        pytest.raises(DatasetError, match=r"emnist\.gz: this installation"),
        embedded_file("emnist.gz"),
    ):
        pass
