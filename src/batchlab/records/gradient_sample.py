"""GradientSample: what the gradients of some training examples were like at fixed weights."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class GradientSample:
    """Gradients of examples drawn without replacement, at fixed weights, as norms and products.

    The examples are cut into blocks. Squared norms are of units: single examples, or the blocks
    themselves where an example has no gradient of its own.

    Attributes:
        n_train: examples in the training set, N.
        unit_examples: examples of a unit, 1 or as many as each block has.
        block_examples: examples of each block, length K >= 3.
        unit_sq: the mean squared norm of the gradients of each block's units, length K.
        products: inner products of the blocks' mean gradients, K x K; their squared norms are on
            the diagonal.
    """

    n_train: int
    unit_examples: int
    block_examples: tuple[int, ...]
    unit_sq: tuple[float, ...]
    products: tuple[tuple[float, ...], ...]

    @property
    def n_examples(self) -> int:
        """The examples of all blocks together."""
        return sum(self.block_examples)

    @property
    def by_blocks(self) -> GradientSample:
        """The same as if only the blocks' gradients had been seen, as in accumulation.

        The blocks must be of one size.
        """
        (examples,) = set(self.block_examples)
        diagonal = tuple(row[index] for index, row in enumerate(self.products))
        return GradientSample(
            n_train=self.n_train,
            unit_examples=examples,
            block_examples=self.block_examples,
            unit_sq=diagonal,
            products=self.products,
        )
