"""AdamSettings: what an optimizer of Adam's kind has beside its learning rate."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class AdamSettings:
    """Betas and eps of Adam; the defaults are PyTorch's.

    Attributes:
        betas: decay of the first and the second moment per step, each in [0, 1).
        eps: added to the root of the second moment, > 0.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
