"""MNIST as arrays: the images that everybody knows, split the same way each time."""

from __future__ import annotations

import gzip
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from tests.reference.idx import idx_values

from batchlab.datasets import embedded as embedded_file
from batchlab.datasets import embedded as mnist
from batchlab.datasets.embedded import Mnist, load_mnist
from batchlab.errors import DatasetError


@pytest.fixture(scope="module")
def split() -> Mnist:
    return load_mnist()


def read_slowly(part: str) -> tuple[np.ndarray, list[float]]:
    with embedded_file.embedded_file(f"{part}-images-idx3-ubyte.gz") as path:
        content = gzip.decompress(path.read_bytes())
    with embedded_file.embedded_file(f"{part}-labels-idx1-ubyte.gz") as path:
        labels = idx_values(gzip.decompress(path.read_bytes()))[1]
    return np.array(list(content[16:]), dtype=np.uint8).reshape(-1, 784), labels


@pytest.mark.slow
def test_the_test_set_is_what_the_slow_reader_reads(split: Mnist) -> None:
    images, labels = read_slowly("t10k")

    assert np.array_equal(split.test[0], images)
    assert split.test[1].tolist() == labels


def test_the_first_training_labels_are_those_that_the_database_is_known_for(split: Mnist) -> None:
    assert split.train[1][:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert split.test[1][:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


def test_images_are_rows_of_784_bytes_and_labels_bytes(split: Mnist) -> None:
    assert split.validation is not None
    for (images, labels), n in ((split.train, 50_000), (split.validation, 10_000)):
        assert (images.shape, images.dtype) == ((n, 784), np.uint8)
        assert (labels.shape, labels.dtype) == ((n,), np.uint8)


@pytest.mark.slow
def test_validation_is_the_last_10_000_training_images(split: Mnist) -> None:
    whole = load_mnist(n_validation=0)

    assert split.validation is not None
    for part in (0, 1):
        joined = np.concatenate([split.train[part], split.validation[part]])
        assert np.array_equal(joined, whole.train[part])


def test_without_validation_all_60_000_are_trained_on(split: Mnist) -> None:
    whole = load_mnist(n_validation=0)

    assert whole.validation is None
    assert len(whole.train[0]) == len(whole.train[1]) == 60_000


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
    with embedded_file.embedded_file(name) as path:
        content = bytearray(gzip.decompress(path.read_bytes()))
    content[-1] ^= 1
    (tmp_path / name).write_bytes(gzip.compress(bytes(content)))
    monkeypatch.setattr(resources, "files", lambda _: FolderOf(tmp_path))

    with pytest.raises(DatasetError, match="SHA-256"):
        mnist._read(name, shape=(10_000,))


class FolderOf:
    """Stands for the installed package: its folder `embedded` is another one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def joinpath(self, _: str, name: str) -> Path:
        return self.folder / name
