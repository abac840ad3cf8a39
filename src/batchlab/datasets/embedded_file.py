"""Embedded file: the data that comes inside the package, each file with its checksum.

MNIST: Yann LeCun, Corinna Cortes and Christopher J. C. Burges, CC BY-SA 3.0, the four original
files byte for byte. Moby-Dick: Herman Melville, 1851, public domain.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from types import MappingProxyType

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
    """The path of an embedded file, on the disk for as long as the block lasts.

    Args:
        name: a key of `SHA256`.

    Yields:
        Its path.

    Raises:
        DatasetError: the installation lacks the file.
    """
    resource = resources.files("batchlab.datasets").joinpath("embedded", name)
    if not resource.is_file():
        raise DatasetError(
            f"{name}: this installation of batchlab lacks its embedded file; install it again"
        )
    with resources.as_file(resource) as path:
        yield path
