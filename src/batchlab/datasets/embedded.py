"""The data sets included in the package: MNIST's digits and the text of Moby-Dick."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from batchlab.errors import UsageError


def embedded_bytes(name: str) -> bytes:
    """Return the decompressed content of a gzip file in the folder `datasets/embedded`."""
    packed = resources.files("batchlab.datasets").joinpath("embedded", name).read_bytes()
    return gzip.decompress(packed)


Images = NDArray[np.uint8]
Labels = NDArray[np.uint8]

_N_TRAIN, _N_PIXELS = 60_000, 28 * 28
_IMAGES_HEADER_BYTES, _LABELS_HEADER_BYTES = 16, 8  # of MNIST's IDX format


@dataclass(frozen=True, kw_only=True, slots=True)
class Mnist:
    """MNIST's handwritten digits; each split is (images, labels), with memory of its own.

    Images are bytes from 0 (paper) to 255 (ink), shape (n, 784), pixels row by row; labels are
    the digits 0 to 9, shape (n,).

    Attributes:
        train: the first of MNIST's 60,000 training images, without those in `validation`.
        validation: the last `n_validation` (of `load_mnist`) training images, or None if that is 0.
        test: MNIST's 10,000 test images. Only reports use them; they never choose a configuration.
    """

    train: tuple[Images, Labels]
    validation: tuple[Images, Labels] | None
    test: tuple[Images, Labels]


def load_mnist(*, n_validation: int = 10_000) -> Mnist:
    """Return MNIST, with its last training images set aside for validation.

    Args:
        n_validation: the number of validation images, from 0 (train on all 60,000) to 59,999.

    Raises:
        UsageError: `n_validation` is not from 0 to 59,999.

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
        # Copy, because a caller that writes into one split must not change another split.
        validation=(images[n_train:].copy(), labels[n_train:].copy()) if n_validation else None,
        test=_read_part("t10k"),
    )


def _read_part(part: str) -> tuple[Images, Labels]:
    """Return the images and labels of MNIST's part `part`: "train" or "t10k"."""
    pixels = bytearray(embedded_bytes(f"{part}-images-idx3-ubyte.gz"))  # writable, unlike bytes
    digits = bytearray(embedded_bytes(f"{part}-labels-idx1-ubyte.gz"))
    images = np.frombuffer(pixels, np.uint8, offset=_IMAGES_HEADER_BYTES).reshape(-1, _N_PIXELS)
    return images, np.frombuffer(digits, np.uint8, offset=_LABELS_HEADER_BYTES)


def load_moby_dick() -> tuple[NDArray[np.uint8], str]:
    """Return the whole of Moby-Dick, 1,189,651 characters over a vocabulary of 81.

    Returns:
        The index of each character of the text in the vocabulary, shape (n,), and the vocabulary:
        the distinct characters, sorted by code point.
    """
    text = embedded_bytes("moby_dick.txt.gz").decode("utf-8")
    points = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    is_used = np.bincount(points) > 0
    vocabulary = "".join(map(chr, np.flatnonzero(is_used)))
    return (np.cumsum(is_used) - 1).astype(np.uint8)[points], vocabulary
