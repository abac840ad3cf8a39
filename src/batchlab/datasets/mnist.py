"""MNIST: the embedded digits, with a split that is the same on every machine.

The data: Yann LeCun, Corinna Cortes and Christopher J. C. Burges, licensed CC BY-SA 3.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchlab.datasets.embedded_file import SHA256, embedded_file
from batchlab.datasets.idx import read_idx
from batchlab.errors import DatasetError

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
        validation: the last training images, None where all are trained on.
        test: its 10,000 test images. For the report only, never for a choice.
    """

    train: tuple[Images, Labels]
    validation: tuple[Images, Labels] | None
    test: tuple[Images, Labels]


def load_mnist(*, n_validation: int = 10_000) -> Mnist:
    """MNIST, its last training images set aside for validation.

    Args:
        n_validation: how many, from 0 (none: train on all 60,000) to 59,999.

    Returns:
        The splits.

    Raises:
        DatasetError: an impossible `n_validation`, or an embedded file that is not intact.
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
        # A copy: training and validation data that share memory are refused as a leak.
        validation=(images[n_train:].copy(), labels[n_train:].copy()) if n_validation else None,
        test=_read_part("t10k", _N_TEST),
    )


def _read_part(part: str, n: int) -> tuple[Images, Labels]:
    """Images and labels of the database's part "train" or "t10k"."""
    images = _read(f"{part}-images-idx3-ubyte.gz", shape=(n, _SIDE, _SIDE))
    return images.reshape(n, _SIDE * _SIDE), _read(f"{part}-labels-idx1-ubyte.gz", shape=(n,))


def _read(name: str, *, shape: tuple[int, ...]) -> NDArray[Any]:
    with embedded_file(name) as path:
        return read_idx(path, shape=shape, dtype=np.uint8, sha256=SHA256[name])
