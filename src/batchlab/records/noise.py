"""GradientSample and MonitorReading: observations of gradients."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.records.estimate import Estimate, Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class GradientSample:
    """Gradients of examples drawn without replacement, at fixed weights, as norms and products.

    The examples are cut into blocks. Squared norms are those of units: single examples, or
    micro-batches if an example has no gradient of its own.

    Attributes:
        n_train: examples in the training set, N; None if the gradient of an example differs
            each time it is taken (dropout, augmentation), as if there were infinitely many.
        unit_examples: examples of a unit, 1 or those of a micro-batch; blocks have whole units.
        block_examples: examples of each block, length K >= 3.
        unit_sq: the mean squared norm of the gradients of each block's units, length K.
        products: inner products of the blocks' mean gradients, K x K; their squared norms are on
            the diagonal.
    """

    n_train: int | None
    unit_examples: int
    block_examples: tuple[int, ...]
    unit_sq: tuple[float, ...]
    products: tuple[tuple[float, ...], ...]

    @property
    def n_examples(self) -> int:
        """The total number of examples in all blocks."""
        return sum(self.block_examples)

    @property
    def by_blocks(self) -> GradientSample:
        """The sample with blocks as units, as if only gradients of blocks were known.

        Accumulation sees only these. The last block is left out if it is smaller.
        """
        examples = self.block_examples[0]
        alike = [index for index, size in enumerate(self.block_examples) if size == examples]
        return GradientSample(
            n_train=self.n_train,
            unit_examples=examples,
            block_examples=(examples,) * len(alike),
            unit_sq=tuple(self.products[index][index] for index in alike),
            products=tuple(tuple(self.products[row][column] for column in alike) for row in alike),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class MonitorReading:
    """The observations of a monitor in a training under way.

    Attributes:
        step: optimizer steps done.
        batch_size: examples of the last step that was measured, all its micro-batches together;
            None if none was.
        gradient_noise_scale: B_simple in examples, from the last measured steps; it is no critical
            batch size.
        gradient_norm: that of the last measured step, as the optimizer got it; None if unknown.
        seen_fraction: the fraction of the trainable parameters whose noise was seen.
        loss: the mean of the last losses; None if none was given.
        loss_spikes: steps whose loss lay far above those before it.
        hint: what follows for the batch size.
    """

    step: int
    batch_size: int | None
    gradient_noise_scale: Estimate
    gradient_norm: float | None
    seen_fraction: float
    loss: float | None
    loss_spikes: int
    hint: Reason
