"""What the scripts of the cases train: four classes of random data, and a network in NumPy."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def data(n: int, seed: int) -> tuple[Array, NDArray[np.int64]]:
    """So many examples of 20 features, each with its class of four."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 20)).astype("f4")
    to_class = np.random.default_rng(0).normal(size=(20, 4))
    return x, (np.tanh(x) @ to_class + random.gumbel(size=(n, 4)) * 0.7).argmax(1)


def batches(n: int, size: int, random: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """The places of one epoch's batches, none larger than `size`."""
    yield from np.array_split(random.permutation(n), -(-n // size))


def begun(seed: int, n: int = 2000, n_held_out: int = 500) -> tuple[Any, ...]:
    """Examples, those held out, a network, and what draws its batches."""
    return (*data(n, 1), data(n_held_out, 2), Net(seed), np.random.default_rng(seed))


class Net:
    """Two layers, and SGD with momentum 0.9."""

    def __init__(self, seed: int, hidden: int = 32) -> None:
        """Random weights."""
        random = np.random.default_rng(seed)
        self._weights = [
            random.normal(size=(20, hidden)).astype("f4") * 0.2,
            np.zeros(hidden, "f4"),
            random.normal(size=(hidden, 4)).astype("f4") * 0.1,
            np.zeros(4, "f4"),
        ]
        self._moved = [0 * each for each in self._weights]

    def step(self, x: Array, y: NDArray[np.int64], rate: float) -> float:
        """Train on one batch; its loss before."""
        loss, _, gradients = self._gradients(x, y)
        for weight, moved, gradient in zip(self._weights, self._moved, gradients, strict=True):
            moved *= 0.9
            moved += gradient
            weight -= rate * moved
        return loss

    def measured(self, x: Array, y: NDArray[np.int64]) -> tuple[float, float]:
        """The mean loss and the accuracy on these examples."""
        loss, accuracy, _ = self._gradients(x, y)
        return loss, accuracy

    def _gradients(self, x: Array, y: NDArray[np.int64]) -> tuple[float, float, list[Array]]:
        first, first_bias, second, second_bias = self._weights
        hidden = np.maximum(x @ first + first_bias, 0)
        logits = hidden @ second + second_bias
        shares = np.exp(logits - logits.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        loss = float(-np.log(shares[range(len(y)), y] + 1e-9).mean())
        accuracy = float((shares.argmax(1) == y).mean())
        shares[range(len(y)), y] -= 1
        shares /= len(y)
        back = (shares @ second.T) * (hidden > 0)
        return loss, accuracy, [x.T @ back, back.sum(0), hidden.T @ shares, shares.sum(0)]
