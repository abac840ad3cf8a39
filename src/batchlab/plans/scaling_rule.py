"""ScalingRule: what a rule does with the learning rate, and with Adam's settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from batchlab.records.adam_settings import AdamSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalingRule:
    """A rule; each is a file in `batchlab.plans.scaling_rules`.

    Attributes:
        place: where it stands in a list of all rules.
        rate_factor: what the rate is multiplied with where the batch size is multiplied with kappa.
        move_adam: the settings of Adam at a batch size, from (those at the reference, the batch
            size, the reference batch size); None: the rule leaves them as they are.
    """

    place: int
    rate_factor: Callable[[float], float]
    move_adam: Callable[[AdamSettings, int, int], AdamSettings] | None = None
