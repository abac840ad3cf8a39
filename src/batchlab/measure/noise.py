"""Noise: the gradient noise of a workload along its own training, and its document."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from batchlab.laws.noise_scale import NoiseScale, noise_scale
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.noise import GradientSample
from batchlab.records.shown import ShownInNotebook
from batchlab.version import __version__
from batchlab.words.document import SCHEMA, json_text, plain


class Sampled:
    """The estimates from a sample of gradients; the n of each is the number of blocks."""

    sample: GradientSample

    @cached_property
    def estimates(self) -> NoiseScale:
        """The noise scale of the sample, with the two quantities that it is the ratio of."""
        return noise_scale(self.sample)

    @property
    def gradient_noise_scale(self) -> Estimate:
        """B_simple = tr Sigma / |G|^2, in examples."""
        return self.estimates.scale

    @property
    def gradient_norm_squared(self) -> Estimate:
        """|G|^2."""
        return self.estimates.grad_sq

    @property
    def noise_trace(self) -> Estimate:
        """Tr Sigma."""
        return self.estimates.trace


@dataclass(frozen=True, kw_only=True)  # no slots, because a cached property needs a __dict__
class LayerNoise(Sampled):
    """The noise of one trainable parameter by itself, from the blocks of examples."""

    sample: GradientSample
    name: str

    document = ("name", "gradient_noise_scale", "gradient_norm_squared", "noise_trace")


@dataclass(frozen=True, kw_only=True)
class NoisePoint(Sampled):
    """The noise at one step of a training.

    `way` says how the gradients of single examples were taken ("layers", "one by one"), or that
    "micro-batches" of `unit_examples` were, where examples have none of their own.
    `preconditioned` is the noise scale of the gradients as Adam rescales them,
    tr(P Sigma P) / |P G|^2; null without Adam and before its first step. A block has
    `block_examples`. `layers` is empty unless asked for. `critical_batch_size` is that of branches
    from this step; null where there were none.

    Attributes:
        sample: the gradients that were seen.
        step: optimizer steps taken before.
        samples: training examples seen before.
        way: how the gradients of single examples were taken.
        rescaled: the blocks as Adam rescales them; None without Adam or before its first step.
        took_s: seconds that the measurement took.
        layers: the noise of each trainable parameter by itself.
        critical_batch_size: where the law of branches from this step has twice the fewest steps, in
            examples; None where there were none.
    """

    sample: GradientSample
    step: int
    samples: int
    way: str
    rescaled: GradientSample | None
    took_s: float
    layers: tuple[LayerNoise, ...] = ()
    critical_batch_size: Estimate | None = None

    document = (
        *("step", "samples", "way", "unit_examples", "n_examples", "gradient_noise_scale"),
        *("gradient_norm_squared", "noise_trace", "preconditioned"),
        *("block_examples", "layers", "critical_batch_size", "took_s"),
    )

    @property
    def unit_examples(self) -> int:
        """The number of examples per unit, whose gradient is computed as one."""
        return self.sample.unit_examples

    @property
    def n_examples(self) -> int:
        """The number of examples in the sample."""
        return self.sample.n_examples

    @property
    def block_examples(self) -> int:
        """The number of examples in a block."""
        return self.sample.block_examples[0]

    @property
    def preconditioned(self) -> Estimate | None:
        """The noise scale of gradients as Adam rescales them; None if Adam does not."""
        return None if self.rescaled is None else noise_scale(self.rescaled).scale

    @property
    def is_whole(self) -> bool:
        """Whether all training examples were seen one by one, so there is no sampling error."""
        return self.unit_examples == 1 and self.n_examples == self.sample.n_train


class NoiseWorkload(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured; it was trained with its own `batch_size` and `learning_rate`."""

    workload_id: str
    name: str
    n_train: int
    batch_size: int
    learning_rate: float


@dataclass(frozen=True, kw_only=True)
class Noise(Sampled, ShownInNotebook):
    """How noisy the gradient of a workload is along its own training.

    It is the document that `batchlab noise --json` prints, in examples. `step` and the estimates
    beside it are those of the last point of `along`. The n of an estimate is the number of blocks
    of examples.

    Attributes:
        workload: what was measured.
        device: "cpu" or "cuda".
        environment: versions, processor, cores, system of the machine it was made on.
        created_at: when, UTC, ISO 8601.
        along: the noise at each measured step; at least one point.
        steps: the steps at which it was to be measured.
        stopped: why some of them were not measured; None if all were.
    """

    schema: int = SCHEMA
    command: str = "noise"
    batchlab: str = __version__
    workload: NoiseWorkload
    device: str
    environment: tuple[tuple[str, str], ...]
    created_at: str
    along: tuple[NoisePoint, ...]
    steps: tuple[int, ...]
    stopped: Reason | None = None

    document = (
        *("schema", "command", "batchlab", "workload", "device", "environment", "created_at"),
        *("step", "gradient_noise_scale", "gradient_norm_squared", "noise_trace"),
        *("along", "steps", "stopped"),
    )
    by_name = ("environment",)

    @property
    def step(self) -> int:
        """The last measured step."""
        return self.along[-1].step

    @property
    def sample(self) -> GradientSample:  # type: ignore[override]
        """The gradients of the last point."""
        return self.along[-1].sample

    def to_dict(self) -> dict[str, Any]:
        """Return the document of docs/schema/noise.json as plain dicts and lists, for `--json`."""
        document: dict[str, Any] = plain(self)
        return document

    def to_json(self) -> str:
        """Return the document that `batchlab noise --json` prints, as text."""
        return json_text(self.to_dict())
