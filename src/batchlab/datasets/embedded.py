"""The data sets included in the package: MNIST's digits and the text of Moby-Dick."""

from __future__ import annotations

import gzip
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
_IMAGES_HEADER_BYTES, _LABELS_HEADER_BYTES = 16, 8  # headers of MNIST's file format IDX


def load_mnist(*, n_validation: int = 10_000) -> dict[str, tuple[Images, Labels]]:
    """Return MNIST's splits; the last `n_validation` training images are the validation split.

    Args:
        n_validation: the number of validation images, from 0 (train on all 60,000) to 59,999.

    Returns:
        "train", "validation" (if `n_validation` is not 0) and "test", each as (images, labels).
        The splits share no memory. Images are bytes from 0 (paper) to 255 (ink), shape (n, 784),
        pixels row by row; labels are the digits 0 to 9, shape (n,). batchlab uses the 10,000 test
        images only in reports, never to choose a configuration.

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
    splits = {"train": (images[:n_train], labels[:n_train]), "test": _read_part("t10k")}
    if n_validation:
        # Copy, because a caller that writes into one split must not change another split.
        splits["validation"] = images[n_train:].copy(), labels[n_train:].copy()
    return splits


def _read_part(part: str) -> tuple[Images, Labels]:
    """Return the images and labels of MNIST's training set ("train") or test set ("t10k")."""
    # Copy into a bytearray, because an array made from bytes would be read-only.
    pixels = bytearray(embedded_bytes(f"{part}-images-idx3-ubyte.gz"))
    digits = bytearray(embedded_bytes(f"{part}-labels-idx1-ubyte.gz"))
    images = np.frombuffer(pixels, np.uint8, offset=_IMAGES_HEADER_BYTES).reshape(-1, _N_PIXELS)
    return images, np.frombuffer(digits, np.uint8, offset=_LABELS_HEADER_BYTES)


def load_moby_dick() -> tuple[NDArray[np.uint8], str]:
    """Return the text of Moby-Dick: 1,189,651 characters, with a vocabulary of 81 characters.

    Returns:
        The index of each character of the text in the vocabulary, shape (n,), and the vocabulary:
        the distinct characters, sorted by code point.
    """
    text = embedded_bytes("moby_dick.txt.gz").decode("utf-8")
    points = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    is_used = np.bincount(points) > 0
    vocabulary = "".join(map(chr, np.flatnonzero(is_used)))
    return (np.cumsum(is_used) - 1).astype(np.uint8)[points], vocabulary
