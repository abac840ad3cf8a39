"""The data that comes inside the package: MNIST's digits and the text of Moby-Dick."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from batchlab.errors import UsageError


def embedded_bytes(name: str) -> bytes:
    """Return the unpacked content of an embedded file."""
    packed = resources.files("batchlab.datasets").joinpath("embedded", name).read_bytes()
    return gzip.decompress(packed)


Images = NDArray[np.uint8]
Labels = NDArray[np.uint8]

_N_TRAIN, _N_PIXELS = 60_000, 28 * 28
_IMAGES_HEADER_BYTES, _LABELS_HEADER_BYTES = 16, 8  # of the database's IDX format


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
        UsageError: `n_validation` is impossible.

    Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition".
    """
    if not 0 <= n_validation < _N_TRAIN:
        raise UsageError(
            f"MNIST: n_validation={n_validation}; expected 0 to {_N_TRAIN - 1} of its {_N_TRAIN} "
            "training images, such as 10000"
        )
    images, labels = _read_part("train")
    n_train = _N_TRAIN - n_validation
    return Mnist(
        train=(images[:n_train], labels[:n_train]),
        # A copy, because callers may write into their data.
        validation=(images[n_train:].copy(), labels[n_train:].copy()) if n_validation else None,
        test=_read_part("t10k"),
    )


def _read_part(part: str) -> tuple[Images, Labels]:
    """Return images and labels of the database's part "train" or "t10k"."""
    pixels = bytearray(embedded_bytes(f"{part}-images-idx3-ubyte.gz"))  # so that it can be written
    digits = bytearray(embedded_bytes(f"{part}-labels-idx1-ubyte.gz"))
    images = np.frombuffer(pixels, np.uint8, offset=_IMAGES_HEADER_BYTES).reshape(-1, _N_PIXELS)
    return images, np.frombuffer(digits, np.uint8, offset=_LABELS_HEADER_BYTES)


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
    """Return the whole of Moby-Dick, 1,189,651 characters over a vocabulary of 81."""
    text = embedded_bytes("moby_dick.txt.gz").decode("utf-8")
    points = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    is_used = np.bincount(points) > 0
    vocabulary = "".join(map(chr, np.flatnonzero(is_used)))
    return Text(ids=(np.cumsum(is_used) - 1).astype(np.uint8)[points], vocabulary=vocabulary)
