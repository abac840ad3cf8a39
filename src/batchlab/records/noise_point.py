"""NoisePoint: the gradients that were sampled at one step of a training."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.records.gradient_sample import GradientSample


@dataclass(frozen=True, kw_only=True, slots=True)
class NoisePoint:
    """The gradients that were sampled at one step of a training.

    Attributes:
        step: optimizer steps taken before.
        samples: training examples seen before.
        way: how the gradients of single examples were taken ("layers", "vmap", "one by one"), or
            "micro-batches" where examples have none of their own.
        sample: what was seen.
        preconditioned: the same of the blocks, each gradient multiplied with what Adam multiplies
            it with; None: the optimizer does not precondition, or has not begun.
        took_s: seconds that it took.
        layers: the same of the blocks for each trainable parameter alone, by its name; empty where
            it was not asked for.
    """

    step: int
    samples: int
    way: str
    sample: GradientSample
    preconditioned: GradientSample | None
    took_s: float
    layers: tuple[tuple[str, GradientSample], ...] = ()
