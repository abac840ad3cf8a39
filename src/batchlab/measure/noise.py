"""Noise: how noisy the gradient of a workload is along its own training, and its document."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from batchlab.laws.noise_scale import NoiseScale, noise_scale
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.json_document import SCHEMA
from batchlab.records.noise import NoisePoint
from batchlab.records.shown import ShownInNotebook
from batchlab.version import __version__
from batchlab.words.document import document_text, plain


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
        return tuple((point, noise_scale(point.sample)) for point in self.points)

    @staticmethod
    def is_whole(point: NoisePoint) -> bool:
        """Whether all training examples were seen one by one, so that nothing is left to chance."""
        return point.sample.unit_examples == 1 and point.sample.n_examples == point.sample.n_train

    @staticmethod
    def preconditioned(point: NoisePoint) -> Estimate | None:
        """The noise scale of gradients as Adam rescales them, tr(P Sigma P) / |P G|^2.

        None: without Adam, or before its first step.
        """
        found = point.preconditioned
        return None if found is None else noise_scale(found).scale

    @property
    def gradient_noise_scale(self) -> Estimate:
        """B_simple = tr Sigma / |G|^2 at the last point, in examples."""
        return self._last.scale

    @property
    def gradient_norm_squared(self) -> Estimate:
        """|G|^2 at the last point."""
        return self._last.grad_sq

    @property
    def noise_trace(self) -> Estimate:
        """Tr Sigma at the last point."""
        return self._last.trace

    @property
    def _last(self) -> NoiseScale:
        return noise_scale(self.points[-1].sample)

    def to_dict(self) -> dict[str, Any]:
        """What `--json` prints, described by docs/schema/noise.json, as plain dicts and lists."""
        return to_dict(self)

    def to_json(self) -> str:
        """The document that `batchlab noise --json` prints."""
        return to_json(self)


class NoiseWorkload(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured; it was trained with its own `batch_size` and `learning_rate`."""

    workload_id: str
    name: str
    n_train: int
    batch_size: int
    learning_rate: float


class LayerDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The noise of one trainable parameter alone, from the blocks of examples."""

    name: str
    gradient_noise_scale: Estimate
    gradient_norm_squared: Estimate
    noise_trace: Estimate


class NoisePointDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The noise at one step.

    `way` says how the gradients of single examples were taken, or that micro-batches of
    `unit_examples` were. `by_micro_batches` is the noise scale from the blocks of examples alone,
    as accumulation sees them. `preconditioned` is that of the gradients as Adam rescales them,
    tr(P Sigma P) / |P G|^2; null without Adam and before its first step. `cosine` is the mean
    cosine between the gradients of two blocks of `block_examples`. `layers` is empty unless asked
    for.
    """

    step: int
    samples: int
    way: str
    unit_examples: int
    n_examples: int
    gradient_noise_scale: Estimate
    gradient_norm_squared: Estimate
    noise_trace: Estimate
    by_micro_batches: Estimate
    preconditioned: Estimate | None
    cosine: float | None
    block_examples: int
    layers: tuple[LayerDocument, ...]
    took_s: float


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
    along: tuple[NoisePointDocument, ...]
    steps: tuple[int, ...]
    stopped: Reason | None


def to_json(noise: Noise, *, report: Path | None = None) -> str:
    """The document as JSON text; unknown is null.

    Args:
        noise: what was measured.
        report: the page that was written; None: none.
    """
    return document_text(_document(noise, report))


def to_dict(noise: Noise) -> dict[str, Any]:
    """The document as plain dicts, lists and numbers."""
    made: dict[str, Any] = plain(_document(noise, None))
    return made


def _document(noise: Noise, report: Path | None) -> NoiseDocument:
    return NoiseDocument(
        schema=SCHEMA,
        command="noise",
        batchlab=__version__,
        workload=NoiseWorkload(
            workload_id=noise.workload_id,
            name=noise.workload,
            n_train=noise.n_train,
            batch_size=noise.batch_size,
            learning_rate=noise.learning_rate,
        ),
        device=noise.device,
        environment=dict(noise.environment),
        created_at=noise.created_at,
        store=None,
        report=None if report is None else str(report),
        step=noise.points[-1].step,
        gradient_noise_scale=noise.gradient_noise_scale,
        gradient_norm_squared=noise.gradient_norm_squared,
        noise_trace=noise.noise_trace,
        along=tuple(_point(noise, point, found) for point, found in noise.along),
        steps=noise.steps,
        stopped=noise.stopped,
    )


def _point(noise: Noise, point: NoisePoint, found: NoiseScale) -> NoisePointDocument:
    return NoisePointDocument(
        step=point.step,
        samples=point.samples,
        way=point.way,
        unit_examples=point.sample.unit_examples,
        n_examples=point.sample.n_examples,
        gradient_noise_scale=found.scale,
        gradient_norm_squared=found.grad_sq,
        noise_trace=found.trace,
        by_micro_batches=noise_scale(point.sample.by_blocks).scale,
        preconditioned=noise.preconditioned(point),
        cosine=point.sample.cosine,
        block_examples=point.sample.block_examples[0],
        layers=tuple(_layer(name, noise_scale(sample)) for name, sample in point.layers),
        took_s=point.took_s,
    )


def _layer(name: str, found: NoiseScale) -> LayerDocument:
    return LayerDocument(
        name=name,
        gradient_noise_scale=found.scale,
        gradient_norm_squared=found.grad_sq,
        noise_trace=found.trace,
    )
