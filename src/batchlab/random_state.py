"""RandomState: Python's, NumPy's and torch's global random streams, kept and put back."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomState:
    """The states of all global random streams of this process at one moment."""

    python: tuple[Any, ...]
    numpy: dict[str, Any]
    torch: Tensor
    cuda: tuple[Tensor, ...]

    @classmethod
    def now(cls) -> RandomState:
        """Return the present states, and CUDA's only if this process already uses it."""
        uses_cuda = torch.cuda.is_initialized()
        return cls(
            python=random.getstate(),
            numpy=np.random.get_state(legacy=False),
            torch=torch.get_rng_state(),
            cuda=tuple(torch.cuda.get_rng_state_all()) if uses_cuda else (),
        )

    def is_now(self) -> bool:
        """Return whether the streams are in these states, so that nothing was drawn since."""
        now = RandomState.now()
        return (
            self.python == now.python
            and _is_same(self.numpy, now.numpy)
            and torch.equal(self.torch, now.torch)
            and len(self.cuda) == len(now.cuda)
            and all(map(torch.equal, self.cuda, now.cuda))
        )

    def restore(self) -> None:
        """Put the streams back to these states."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.torch)
        if self.cuda:
            torch.cuda.set_rng_state_all(list(self.cuda))


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_is_same(one[key], other[key]) for key in one)
    return bool(np.array_equal(one, other))


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's global random streams; CUDA's if it is already in use.

    This avoids `torch.manual_seed`, which also seeds CUDA when that starts later, and takes 0.2 ms,
    as long as a small step, to record its caller.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


@contextmanager
def untouched_randomness(seed: int | None = None) -> Iterator[None]:
    """Put the global streams back after the block, as if nothing had been drawn inside it.

    With `seed`, the streams are seeded at the beginning of the block.
    """
    before = RandomState.now()
    if seed is not None:
        seed_everything(seed)
    try:
        yield
    finally:
        before.restore()


def derived_seed(*parts: object) -> int:
    """Return a 63-bit seed made from `parts`, so that every use has its own random stream."""
    digest = hashlib.sha256(" ".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
