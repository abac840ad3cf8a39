"""MNIST as arrays: the images that everybody knows, split the same way each time."""

from __future__ import annotations

import gzip
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from tests.reference.idx import idx_values

from batchlab.datasets import embedded
from batchlab.datasets.embedded import Mnist, embedded_file, load_mnist
from batchlab.errors import DatasetError


@pytest.fixture(scope="module")
def split() -> Mnist:
    return load_mnist()


def read_slowly(part: str) -> tuple[np.ndarray, list[float]]:
    with embedded_file(f"{part}-images-idx3-ubyte.gz") as path:
        content = gzip.decompress(path.read_bytes())
    with embedded_file(f"{part}-labels-idx1-ubyte.gz") as path:
        labels = idx_values(gzip.decompress(path.read_bytes()))[1]
    return np.array(list(content[16:]), dtype=np.uint8).reshape(-1, 784), labels


@pytest.mark.slow
def test_the_test_set_is_what_the_slow_reader_reads(split: Mnist) -> None:
    images, labels = read_slowly("t10k")

    assert np.array_equal(split.test[0], images)
    assert split.test[1].tolist() == labels


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
    name = "t10k-labels-idx1-ubyte.gz"
    with embedded_file(name) as path:
        content = bytearray(gzip.decompress(path.read_bytes()))
    content[-1] ^= 1
    (tmp_path / name).write_bytes(gzip.compress(bytes(content)))
    monkeypatch.setattr(resources, "files", lambda _: FolderOf(tmp_path))

    with pytest.raises(DatasetError, match="SHA-256"):
        embedded._read(name, shape=(10_000,))


class FolderOf:
    """Stands for the installed package: its folder `embedded` is another one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def joinpath(self, _: str, name: str) -> Path:
        return self.folder / name
