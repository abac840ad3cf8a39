"""WatchedModel: the model of a training under way, and what is measured of it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from batchlab.records.measurement import AtStep, Moment
from batchlab.records.trial import Trial
from batchlab.workload.definition import Workload


class WatchedModel:
    """Keeps the weights that measurements compare with, and takes the measurements."""

    def __init__(
        self,
        model: nn.Module,
        *,
        measures: Mapping[str, AtStep],
        workload: Workload,
        trial: Trial,
        device: torch.device,
    ) -> None:
        """Keep the initial weights; a checkpoint has not taken their place yet."""
        self._model = model
        self._measures = measures
        self._workload = workload
        self._trial = trial
        self._device = device
        self._initial = self._weights()
        self._before: list[Tensor] = []

    def keep_weights(self) -> None:
        """Keep the weights as they are before the step to an evaluation."""
        self._before = self._weights()

    def measured(self, step: int, *, has_all_splits: bool) -> tuple[tuple[str, float | None], ...]:
        """What is measured after `step` steps, by name; None: no finite number."""
        moment = Moment(
            model=self._model,
            initial=self._initial,
            before=self._before,
            workload=self._workload,
            device=self._device,
            trial=self._trial,
            step=step,
            has_all_splits=has_all_splits,
        )
        found = {name: _finite(measure(moment)) for name, measure in self._measures.items()}
        self._before = []
        # Most are not taken of the initial weights.
        return tuple((name, value) for name, value in found.items() if step or value is not None)

    def _weights(self) -> list[Tensor]:
        return [part.detach().clone() for part in self._model.parameters()]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
