"""Noise: how noisy the gradient of a workload is along its own training, and its document."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from batchlab.laws.noise_scale import NoiseScale, noise_scale
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.json_document import SCHEMA, json_text
from batchlab.records.noise import GradientSample
from batchlab.records.shown import ShownInNotebook
from batchlab.version import __version__
from batchlab.words.document import plain


@dataclass(frozen=True, kw_only=True)  # without slots: a cached property needs a place
class Sampled:
    """Gradients that were sampled, and what they say; the n of an estimate is that of blocks."""

    sample: GradientSample

    @cached_property
    def found(self) -> NoiseScale:
        """The noise scale of the sample, with what it is the ratio of."""
        return noise_scale(self.sample)

    @property
    def gradient_noise_scale(self) -> Estimate:
        """B_simple = tr Sigma / |G|^2, in examples."""
        return self.found.scale

    @property
    def gradient_norm_squared(self) -> Estimate:
        """|G|^2."""
        return self.found.grad_sq

    @property
    def noise_trace(self) -> Estimate:
        """Tr Sigma."""
        return self.found.trace


@dataclass(frozen=True, kw_only=True)
class LayerNoise(Sampled):
    """The noise of one trainable parameter alone, from the blocks of examples."""

    name: str

    document = ("name", "gradient_noise_scale", "gradient_norm_squared", "noise_trace")


@dataclass(frozen=True, kw_only=True)
class NoisePoint(Sampled):
    """The noise at one step of a training.

    `way` says how the gradients of single examples were taken ("layers", "one by one"), or that
    "micro-batches" of `unit_examples` were, where examples have none of their own.
    `by_micro_batches` is the noise scale from the blocks of examples alone, as accumulation sees
    them. `preconditioned` is that of the gradients as Adam rescales them, tr(P Sigma P) / |P G|^2;
    null without Adam and before its first step. `cosine` is the mean cosine between the gradients
    of two blocks of `block_examples`. `layers` is empty unless asked for.

    Attributes:
        step: optimizer steps taken before.
        samples: training examples seen before.
        way: how the gradients of single examples were taken.
        rescaled: the blocks as Adam rescales them; None: it does not, or has not begun.
        took_s: seconds that it took.
        layers: each trainable parameter alone.
    """

    step: int
    samples: int
    way: str
    rescaled: GradientSample | None
    took_s: float
    layers: tuple[LayerNoise, ...] = ()

    document = (
        *("step", "samples", "way", "unit_examples", "n_examples", "gradient_noise_scale"),
        *("gradient_norm_squared", "noise_trace", "by_micro_batches", "preconditioned", "cosine"),
        *("block_examples", "layers", "took_s"),
    )

    @property
    def unit_examples(self) -> int:
        """Examples whose gradient was taken as one."""
        return self.sample.unit_examples

    @property
    def n_examples(self) -> int:
        """Examples that were seen."""
        return self.sample.n_examples

    @property
    def block_examples(self) -> int:
        """Examples of a block."""
        return self.sample.block_examples[0]

    @property
    def cosine(self) -> float | None:
        """The mean cosine between the gradients of two blocks; None: one of them is 0."""
        return self.sample.cosine

    @property
    def by_micro_batches(self) -> Estimate:
        """The noise scale from the blocks of examples alone, as accumulation sees them."""
        return noise_scale(self.sample.by_blocks).scale

    @property
    def preconditioned(self) -> Estimate | None:
        """The noise scale of gradients as Adam rescales them; None: it does not."""
        return None if self.rescaled is None else noise_scale(self.rescaled).scale

    @property
    def is_whole(self) -> bool:
        """Whether all training examples were seen one by one, so that nothing is left to chance."""
        return self.unit_examples == 1 and self.n_examples == self.sample.n_train


@dataclass(frozen=True, kw_only=True)
class Noise(ShownInNotebook):
    """How noisy the gradient of a workload is along its own training.

    Attributes:
        workload_id: identity of the workload's source, settings and data.
        workload: its name.
        n_train: examples in its training set.
        batch_size: what it was trained with on the way, its own.
        learning_rate: the same.
        device: "cpu" or "cuda".
        environment: versions, processor, cores, system of the machine it was made on.
        created_at: when, UTC, ISO 8601.
        points: what was seen, by step; at least one.
        steps: where it was to be measured.
        stopped: why not all of them were; None: all were.
    """

    workload_id: str
    workload: str
    n_train: int
    batch_size: int
    learning_rate: float
    device: str
    environment: tuple[tuple[str, str], ...]
    created_at: str
    points: tuple[NoisePoint, ...]
    steps: tuple[int, ...]
    stopped: Reason | None = None

    @property
    def along(self) -> tuple[tuple[NoisePoint, NoiseScale], ...]:
        """What each point says."""
        return tuple((point, point.found) for point in self.points)

    @property
    def gradient_noise_scale(self) -> Estimate:
        """B_simple = tr Sigma / |G|^2 at the last point, in examples."""
        return self.points[-1].gradient_noise_scale

    @property
    def gradient_norm_squared(self) -> Estimate:
        """|G|^2 at the last point."""
        return self.points[-1].gradient_norm_squared

    @property
    def noise_trace(self) -> Estimate:
        """Tr Sigma at the last point."""
        return self.points[-1].noise_trace

    def to_dict(self, *, report: Path | None = None) -> dict[str, Any]:
        """What `--json` prints, described by docs/schema/noise.json, as plain dicts and lists.

        Args:
            report: the page that was written; None: none.
        """
        made: dict[str, Any] = plain(
            NoiseDocument(
                schema=SCHEMA,
                command="noise",
                batchlab=__version__,
                workload=NoiseWorkload(
                    workload_id=self.workload_id,
                    name=self.workload,
                    n_train=self.n_train,
                    batch_size=self.batch_size,
                    learning_rate=self.learning_rate,
                ),
                device=self.device,
                environment=dict(self.environment),
                created_at=self.created_at,
                store=None,
                report=None if report is None else str(report),
                step=self.points[-1].step,
                gradient_noise_scale=self.gradient_noise_scale,
                gradient_norm_squared=self.gradient_norm_squared,
                noise_trace=self.noise_trace,
                along=self.points,
                steps=self.steps,
                stopped=self.stopped,
            )
        )
        return made

    def to_json(self, *, report: Path | None = None) -> str:
        """The document that `batchlab noise --json` prints.

        Args:
            report: the page that was written; None: none.
        """
        return json_text(self.to_dict(report=report))


class NoiseWorkload(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured; it was trained with its own `batch_size` and `learning_rate`."""

    workload_id: str
    name: str
    n_train: int
    batch_size: int
    learning_rate: float


class NoiseDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The gradient noise scale along a training, in examples.

    The first three are of the last point of `along`, at `step`. The n of an estimate is the number
    of blocks of examples. `stopped` says why not all of `steps` were measured.
    """

    schema: int
    command: str
    batchlab: str
    workload: NoiseWorkload
    device: str
    environment: dict[str, str]
    created_at: str
    store: str | None
    report: str | None
    step: int
    gradient_noise_scale: Estimate
    gradient_norm_squared: Estimate
    noise_trace: Estimate
    along: tuple[NoisePoint, ...]
    steps: tuple[int, ...]
    stopped: Reason | None
