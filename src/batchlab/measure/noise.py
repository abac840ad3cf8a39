"""Noise: the gradient noise of a workload at several steps of its training, as a document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from batchlab.laws.noise_scale import noise_scale
from batchlab.measure.profile import ProfiledWorkload
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.noise import GradientSample
from batchlab.records.shown import ShownInNotebook
from batchlab.version import __version__
from batchlab.words.document import SCHEMA, plain


@dataclass(frozen=True, kw_only=True, slots=True)
class NoisePoint:
    """The gradient noise at one step of a training; the n of each estimate is the number of blocks.

    Attributes:
        step: number of optimizer steps before the measurement.
        samples: number of training examples used before the measurement.
        n_examples: number of examples whose gradients were sampled.
        gradient_noise_scale: the noise scale B_simple = tr Sigma / |G|^2, in examples.
        gradient_norm_squared: |G|^2, where G is the mean gradient of the training examples.
        noise_trace: tr Sigma, the summed variance of the gradient of one example.
    """

    step: int
    samples: int
    n_examples: int
    gradient_noise_scale: Estimate
    gradient_norm_squared: Estimate
    noise_trace: Estimate

    @classmethod
    def of(cls, sample: GradientSample, *, step: int, samples: int) -> NoisePoint:
        """Estimate the noise from a sample of gradients."""
        noise = noise_scale(sample)
        return cls(
            step=step,
            samples=samples,
            n_examples=sample.n_examples,
            gradient_noise_scale=noise.scale,
            gradient_norm_squared=noise.grad_sq,
            noise_trace=noise.trace,
        )


class NoiseWorkload(ProfiledWorkload, frozen=True, kw_only=True):
    """The workload whose noise was measured, with the batch size and learning rate of training."""

    learning_rate: float


@dataclass(frozen=True, kw_only=True)
class Noise(ShownInNotebook):
    """The gradient noise of a workload at several steps of its training.

    This is the document that `batchlab noise --json` prints; the noise scale is in examples. `step`
    and `gradient_noise_scale` are those of the last point of `along`.

    Attributes:
        workload: the workload that was trained.
        device: "cpu" or "cuda".
        environment: versions, processor, cores and system of the machine that measured.
        created_at: time of the measurement, UTC, ISO 8601.
        along: the noise at each measured step; at least one point.
        steps: the steps at which a measurement was requested.
        stopped: why some of `steps` were not measured; None if all were measured.
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
        *("step", "gradient_noise_scale", "along", "steps", "stopped"),
    )
    by_name = ("environment",)

    @property
    def step(self) -> int:
        """The last measured step."""
        return self.along[-1].step

    @property
    def gradient_noise_scale(self) -> Estimate:
        """The noise scale B_simple = tr Sigma / |G|^2 at the last point, in examples."""
        return self.along[-1].gradient_noise_scale

    def to_dict(self) -> dict[str, Any]:
        """Return the document of docs/schema/noise.json as plain dicts and lists (`--json`)."""
        document: dict[str, Any] = plain(self)
        return document
