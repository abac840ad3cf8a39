"""GradientSample and MonitorReading: observations of gradients."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.records.estimate import Estimate, Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class GradientSample:
    """Gradients of blocks of examples drawn without replacement, at fixed weights, as products.

    Attributes:
        n_train: examples in the training set, N; None if the gradient of an example differs
            each time it is taken (dropout, augmentation), as if there were infinitely many.
        block_examples: examples of each of the K >= 3 blocks.
        products: inner products of the blocks' mean gradients, K x K; their squared norms are on
            the diagonal.
    """

    n_train: int | None
    block_examples: int
    products: tuple[tuple[float, ...], ...]

    @property
    def n_blocks(self) -> int:
        """The number of blocks, K."""
        return len(self.products)

    @property
    def n_examples(self) -> int:
        """The total number of examples in all blocks."""
        return self.n_blocks * self.block_examples


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
        hint: what follows for the batch size.
    """

    step: int
    batch_size: int | None
    gradient_noise_scale: Estimate
    gradient_norm: float | None
    seen_fraction: float
    hint: Reason
