"""The data that comes inside the package: MNIST's digits and the text of Moby-Dick."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchlab.datasets.readers import open_data_file, read_idx
from batchlab.errors import DatasetError

SHA256 = MappingProxyType(
    {
        "t10k-images-idx3-ubyte.gz": (
            "1a1a05eab793c14bb050b398624a11b0ffd1a2953baed553b1b9bd079e2a20be"
        ),
        "t10k-labels-idx1-ubyte.gz": (
            "b91679a0acfe4ba0e50a2437a903084cba1f5f92592b016a25a7dfd00455798b"
        ),
        "train-images-idx3-ubyte.gz": (
            "0b367032e93c5d0cea0925647cfdb18614af8ee15f83e6f2fc2ad904a6835971"
        ),
        "train-labels-idx1-ubyte.gz": (
            "1787548bbe0bff1ec2ecdc0ef292b02df999e2d1a6002d27500982c652b17203"
        ),
        "moby_dick.txt.gz": "7c5a069c3bdea670b997c56961405e90c129313f7154d65e0d1d223272e6b87e",
    }
)


@contextmanager
def embedded_file(name: str) -> Iterator[Path]:
    """Yield the path of an embedded file, which exists as long as the block lasts."""
    resource = resources.files("batchlab.datasets").joinpath("embedded", name)
    if not resource.is_file():
        raise DatasetError(
            f"{name}: this installation of batchlab lacks its embedded file; install it again"
        )
    with resources.as_file(resource) as path:
        yield path


Images = NDArray[np.uint8]
Labels = NDArray[np.uint8]

_N_TRAIN, _N_TEST, _SIDE = 60_000, 10_000, 28


@dataclass(frozen=True, kw_only=True, slots=True)
class Mnist:
    """Handwritten digits; each split is (images, labels), and no two share memory.

    Images have shape (n, 784), row by row, bytes from 0 (paper) to 255 (ink); labels have
    shape (n,) and are the digits 0 to 9.

    Attributes:
        train: the first training images of the database.
        validation: the last training images, None if all are trained on.
        test: its 10,000 test images. For the report only, never for a choice.
    """

    train: tuple[Images, Labels]
    validation: tuple[Images, Labels] | None
    test: tuple[Images, Labels]


def load_mnist(*, n_validation: int = 10_000) -> Mnist:
    """Return MNIST, with its last training images set aside for validation.

    Args:
        n_validation: how many, from 0 (none: train on all 60,000) to 59,999.

    Raises:
        DatasetError: `n_validation` is impossible, or an embedded file is not intact.
    Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition".
    """
    if not 0 <= n_validation < _N_TRAIN:
        raise DatasetError(
            f"MNIST: n_validation={n_validation}; expected 0 to {_N_TRAIN - 1} of its {_N_TRAIN} "
            "training images, such as 10000"
        )
    images, labels = _read_part("train", _N_TRAIN)
    n_train = _N_TRAIN - n_validation
    return Mnist(
        train=(images[:n_train], labels[:n_train]),
        # A copy, because callers may write into their data.
        validation=(images[n_train:].copy(), labels[n_train:].copy()) if n_validation else None,
        test=_read_part("t10k", _N_TEST),
    )


def _read_part(part: str, n: int) -> tuple[Images, Labels]:
    """Return images and labels of the database's part "train" or "t10k"."""
    images = _read(f"{part}-images-idx3-ubyte.gz", shape=(n, _SIDE, _SIDE))
    return images.reshape(n, _SIDE * _SIDE), _read(f"{part}-labels-idx1-ubyte.gz", shape=(n,))


def _read(name: str, *, shape: tuple[int, ...]) -> NDArray[Any]:
    with embedded_file(name) as path:
        return read_idx(path, shape=shape, dtype=np.uint8, sha256=SHA256[name])


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """A text as numbers.

    Attributes:
        ids: the place of each character in the vocabulary, in reading order, shape (n,).
        vocabulary: its distinct characters, sorted by code point, at most 256.
    """

    ids: NDArray[np.uint8]
    vocabulary: str


def load_moby_dick() -> Text:
    """Return the whole of Moby-Dick, 1,189,651 characters over a vocabulary of 81.

    Raises:
        DatasetError: the embedded file is not intact.
    """
    name = "moby_dick.txt.gz"
    with embedded_file(name) as path, open_data_file(path, sha256=SHA256[name]) as stream:
        return as_ids(stream.read().decode("utf-8"))


def as_ids(text: str) -> Text:
    """Return the text as numbers, with its vocabulary sorted."""
    points = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    is_used = np.bincount(points) > 0
    vocabulary = "".join(map(chr, np.flatnonzero(is_used)))
    assert len(vocabulary) <= 256, "more characters than a byte can number"
    return Text(ids=(np.cumsum(is_used) - 1).astype(np.uint8)[points], vocabulary=vocabulary)
