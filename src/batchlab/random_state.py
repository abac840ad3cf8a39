"""Random state: saves, restores and seeds Python's, NumPy's and torch's random generators."""

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
    """The states of all global random generators of this process at one moment."""

    python: tuple[Any, ...]
    numpy: dict[str, Any]
    torch: Tensor
    cuda: tuple[Tensor, ...]

    @classmethod
    def now(cls) -> RandomState:
        """Return the current states, including CUDA's if this process already uses CUDA."""
        uses_cuda = torch.cuda.is_initialized()
        return cls(
            python=random.getstate(),
            numpy=np.random.get_state(legacy=False),
            torch=torch.get_rng_state(),
            cuda=tuple(torch.cuda.get_rng_state_all()) if uses_cuda else (),
        )

    def is_now(self) -> bool:
        """Return whether no generator's state has changed since these states were saved."""
        now = RandomState.now()
        return (
            self.python == now.python
            and _is_same(self.numpy, now.numpy)
            and torch.equal(self.torch, now.torch)
            and len(self.cuda) == len(now.cuda)
            and all(map(torch.equal, self.cuda, now.cuda))
        )

    def restore(self) -> None:
        """Set the global random generators to these states."""
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
    """Seed the global random generators of Python, NumPy, torch and, if already in use, CUDA.

    `torch.manual_seed` is avoided, because it takes 0.2 ms, as long as a small step, to record its
    caller, and would also seed CUDA if CUDA is initialized later.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


@contextmanager
def untouched_randomness(seed: int | None = None) -> Iterator[None]:
    """Restore the global random generators after the `with` block, as if nothing had been drawn.

    With `seed`, the generators are seeded at the start of the block.
    """
    before = RandomState.now()
    if seed is not None:
        seed_everything(seed)
    try:
        yield
    finally:
        before.restore()


def derived_seed(*parts: object) -> int:
    """Return a 63-bit seed hashed from `parts`; different parts give independent streams."""
    digest = hashlib.sha256(" ".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
