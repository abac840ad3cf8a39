"""RightExamples: which examples of a split a model was right about, a bit each."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class RightExamples:
    """Which examples a model was right about, in the order of the split.

    Attributes:
        n_examples: how many there are.
        bits: base64 of a bit for each, the first in the highest bit of the first byte.
    """

    n_examples: int
    bits: str

    @classmethod
    def of(cls, right: NDArray[np.bool_]) -> RightExamples:
        """Pack them.

        Args:
            right: one for each example, shape (n,).
        """
        packed = base64.b64encode(np.packbits(right).tobytes()).decode()
        return cls(n_examples=len(right), bits=packed)

    @property
    def right(self) -> NDArray[np.bool_]:
        """One for each example, shape (n,)."""
        packed = np.frombuffer(base64.b64decode(self.bits), dtype=np.uint8)
        return np.unpackbits(packed, count=self.n_examples).astype(bool)
