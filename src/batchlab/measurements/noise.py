"""Noise: how noisy the gradient of a workload is along its own training, as it was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from batchlab.laws.noise_scale import NoiseScale, noise_scale
from batchlab.records.estimate import Estimate
from batchlab.records.noise_point import NoisePoint
from batchlab.records.reason import Reason
from batchlab.records.shown import ShownInNotebook


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
        from batchlab.measurements.noise_document import to_dict

        return to_dict(self)

    def to_json(self) -> str:
        """The document that `batchlab noise --json` prints."""
        from batchlab.measurements.noise_document import to_json

        return to_json(self)
