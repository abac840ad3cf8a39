"""GradientSample and MonitorReading: records of measured gradients."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.records.estimate import Estimate, Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class GradientSample:
    """The inner products between mean gradients of blocks of examples, at fixed weights.

    Attributes:
        n_train: examples in the training set, N; None if an example's gradient is random
            (dropout, augmentation), as if there were infinitely many examples.
        block_examples: examples in each of the K >= 3 blocks, drawn without replacement.
        products: inner products of the blocks' mean gradients, K x K; the diagonal has the squared
            norms of the mean gradients.
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
    """The state of a running training as a monitor measured it.

    Attributes:
        step: optimizer steps done.
        batch_size: examples of the last measured step, over all its micro-batches; None if no
            step was measured.
        gradient_noise_scale: B_simple in examples, from the last measured steps; B_simple is not
            the critical batch size.
        gradient_norm: norm of the gradient in the last measured step; None without such a step.
        seen_fraction: the fraction of the trainable parameters whose noise was measured.
        hint: what the noise scale suggests for the batch size.
    """

    step: int
    batch_size: int | None
    gradient_noise_scale: Estimate
    gradient_norm: float | None
    seen_fraction: float
    hint: Reason
