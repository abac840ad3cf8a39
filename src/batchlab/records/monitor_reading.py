"""MonitorReading: what a monitor has seen of a training under way."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.records.estimate import Estimate
from batchlab.records.reason import Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class MonitorReading:
    """What a monitor has seen of a training under way.

    Attributes:
        step: optimizer steps so far.
        batch_size: examples of the last step that was measured, all its micro-batches together;
            None: none was.
        gradient_noise_scale: B_simple in examples, from the last measured steps; it is no critical
            batch size.
        gradient_norm: of the last measured step, as the optimizer got it; None: not measured.
        seen_fraction: of the trainable parameters, those whose noise was seen.
        loss: the mean of the last losses; None: none was given.
        loss_spikes: steps whose loss lay far above those before it.
        hint: what follows for the batch size.
    """

    step: int
    batch_size: int | None
    gradient_noise_scale: Estimate
    gradient_norm: float | None
    seen_fraction: float
    loss: float | None
    loss_spikes: int
    hint: Reason
