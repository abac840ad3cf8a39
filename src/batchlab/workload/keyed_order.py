"""KeyedOrder: a random order of very many examples of which no list is ever made.

A list of a billion places takes 8 GB in every process and a minute to shuffle. Here the place of
each example is computed when it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Up to so many examples an order is PyTorch's own permutation, as a list of at most 32 MiB.
MOST_LISTED = 2**22

_ROUNDS = 6
_Words = NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyedOrder:
    """Places `start` to `stop` of a random order of `n` examples; it is read like a tensor.

    A Feistel network with a hash for its round function is a permutation of the numbers below a
    power of two, whatever the hash; what falls outside of the `n` is sent through again. It is for
    many: of a handful of examples, not all orders would come equally often.

    Source: Black and Rogaway 2002, "Ciphers with arbitrary finite domains", methods 2 and 3.
    """

    n: int
    seed: int
    start: int
    stop: int

    @classmethod
    def of(cls, n: int, *, seed: int) -> KeyedOrder:
        """All places of the order.

        Args:
            n: how many examples there are, at least 1.
            seed: of the order; another seed gives another one.
        """
        return cls(n=n, seed=seed, start=0, stop=n)

    def __len__(self) -> int:
        """How many places there are."""
        return self.stop - self.start

    def __getitem__(self, places: Any) -> Any:
        """What stands at these places.

        Args:
            places: a whole number or an int64 tensor, counted from 0; or a slice without a step.

        Returns:
            Indices of examples, int64, of the shape of `places`; of a slice the order of these
            places alone, which is none yet either. Of a whole number a whole number.
        """
        if isinstance(places, slice):
            start, stop, _ = places.indices(len(self))
            start, stop = self.start + start, self.start + max(start, stop)
            return replace(self, start=start, stop=stop)
        asked = np.asarray(places, dtype=np.int64)
        if asked.size and not (0 <= int(asked.min()) and int(asked.max()) < len(self)):
            raise IndexError(f"places {places} of an order of {len(self)}")
        found = self._indices((asked + self.start).reshape(-1).astype(np.uint64))
        if isinstance(places, int):
            return int(found[0])
        return torch.from_numpy(found.astype(np.int64)).reshape(asked.shape)

    def listed(self) -> Tensor:
        """The indices at all places, int64, shape (n,)."""
        found: Tensor = self[torch.arange(len(self))]
        return found

    def _indices(self, numbers: _Words) -> _Words:
        found = self._mixed(numbers)
        outside = np.flatnonzero(found >= self.n)
        while outside.size:  # fewer than half of them each time
            found[outside] = self._mixed(found[outside])
            outside = outside[found[outside] >= self.n]
        return found

    def _mixed(self, numbers: _Words) -> _Words:
        """A permutation of the numbers below the next power of two."""
        bits = max(2, (self.n - 1).bit_length())
        low_bits, high_bits = bits // 2, bits - bits // 2
        for number in range(_ROUNDS):
            high, low = numbers >> np.uint64(low_bits), numbers & _below(low_bits)
            mixed = (high ^ _hash(low, self.seed, number)) & _below(high_bits)
            numbers = (low << np.uint64(high_bits)) | mixed  # the halves change places
            low_bits, high_bits = high_bits, low_bits
        return numbers


class KeyedDraws(KeyedOrder):
    """Places `start` to `stop` of `n` independent draws from `n` examples, with replacement."""

    __slots__ = ()

    def _indices(self, numbers: _Words) -> _Words:
        # Of 2**64 values an example has at most one more than another.
        return _hash(_hash(numbers, self.seed, 0), self.seed, 1) % np.uint64(self.n)


def _below(bits: int) -> np.uint64:
    return np.uint64((1 << bits) - 1)


def _hash(words: _Words, seed: int, number: int) -> _Words:
    """SplitMix64's output function of words, seed and round."""
    key = (seed * 0x9E3779B97F4A7C15 + (number + 1) * 0xD1B54A32D192ED03) % 2**64
    words = words + np.uint64(key)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: _Words = words ^ (words >> np.uint64(31))
    return mixed


def shuffled(n: int, *, seed: int) -> Tensor | KeyedOrder:
    """A random order of `n` examples: a tensor, or what is read like one where they are many.

    Args:
        n: how many examples there are.
        seed: of the order, 0 to 2**63 - 1.
    """
    if n > MOST_LISTED:
        return KeyedOrder.of(n, seed=seed)
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))


def drawn(n: int, *, seed: int) -> Tensor | KeyedOrder:
    """As many independent draws from `n` examples: a tensor, or what is read like one.

    Args:
        n: how many examples there are.
        seed: of the draws, 0 to 2**63 - 1.
    """
    if n > MOST_LISTED:
        return KeyedDraws.of(n, seed=seed)
    return torch.randint(n, (n,), generator=torch.Generator().manual_seed(seed))


def first_shuffled(n: int, most: int, *, seed: int) -> Tensor:
    """The first `most` examples of that order; the list of the others goes.

    Args:
        n: how many examples there are.
        most: how many are wanted.
        seed: of the order, 0 to 2**63 - 1.

    Returns:
        Indices, int64, shape (min(n, most),).
    """
    return listed(shuffled(n, seed=seed)[:most]).clone()


def listed(order: Tensor | KeyedOrder) -> Tensor:
    """The indices of an order or of a part of one, int64, shape (n,)."""
    return order if isinstance(order, Tensor) else order.listed()
