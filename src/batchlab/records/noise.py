"""GradientSample and MonitorReading: records of measured gradients."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.records.estimate import Estimate, Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class GradientSample:
    """Mean gradients of several blocks of training examples, as a matrix of inner products.

    Attributes:
        n_train: examples in the training set. None if dropout or augmentation makes the gradient of
            an example random: the training set then counts as infinitely large.
        block_examples: examples in each block, drawn without replacement.
        products: the inner product of the mean gradients of each pair of blocks. There are at least
            3 blocks; the diagonal has the squared norms of the mean gradients.
    """

    n_train: int | None
    block_examples: int
    products: tuple[tuple[float, ...], ...]

    @property
    def n_blocks(self) -> int:
        """The number of blocks."""
        return len(self.products)

    @property
    def n_examples(self) -> int:
        """The total number of examples in all blocks."""
        return self.n_blocks * self.block_examples


@dataclass(frozen=True, kw_only=True, slots=True)
class MonitorReading:
    """The values that a monitor has measured in a running training.

    Attributes:
        step: optimizer steps done.
        batch_size: examples of the last measured step, over all its micro-batches; None if no
            step was measured.
        gradient_noise_scale: the simple noise scale, in examples, estimated from the last measured
            steps. It is not the same as the critical batch size.
        seen_fraction: the fraction of the trainable parameters whose noise was measured.
        hint: what the noise scale suggests for the batch size.
    """

    step: int
    batch_size: int | None
    gradient_noise_scale: Estimate
    seen_fraction: float
    hint: Reason
