"""Text: the embedded Moby-Dick as numbers, one a character.

Herman Melville, "Moby-Dick; or, The Whale" (1851), chapters joined by blank lines. Public domain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from batchlab.datasets.data_file import check_sha256, open_data_file
from batchlab.datasets.embedded_file import SHA256, embedded_file

_NAME = "moby_dick.txt.gz"


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
    """Moby-Dick, 1,189,651 characters over a vocabulary of 81.

    Returns:
        The whole novel; the split is the workload's.

    Raises:
        DatasetError: the embedded file is not intact.
    """
    with embedded_file(_NAME) as path:
        with open_data_file(path) as stream:
            content = stream.read()
        check_sha256(path, SHA256[_NAME])
    return as_ids(content.decode("utf-8"))


def as_ids(text: str) -> Text:
    """The text as numbers, its vocabulary sorted.

    Args:
        text: at least one character, at most 256 distinct ones.

    Returns:
        The numbers and the vocabulary that turns them back.
    """
    points = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    is_used = np.bincount(points) > 0
    vocabulary = "".join(map(chr, np.flatnonzero(is_used)))
    assert len(vocabulary) <= 256, "more characters than a byte can number"
    return Text(ids=(np.cumsum(is_used) - 1).astype(np.uint8)[points], vocabulary=vocabulary)
