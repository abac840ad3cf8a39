"""Horizon: the length of a training as a multiple of the reference's training."""

from __future__ import annotations

import math
from typing import Final

# A horizon is at least this many times the length to the target, because some seeds take longer.
_ROOM = 1.15


HORIZONS: Final = (0.5, 1.5, 2.0)
"""The schedule lengths tried besides the reference's, as multiples of the reference's."""


def horizon_for(needed: float) -> float:
    """Return the shortest of 1, 1.5, 2, 3, 4, 6, 8, ... that is at least 1.15 times `needed`.

    Args:
        needed: the training needed to reach the target, as a multiple of the reference's.
    """
    octave = math.floor(math.log2(max(_ROOM * needed, 1.0)))
    return next(
        horizon
        for horizon in (2.0**octave, 1.5 * 2.0**octave, 2.0 ** (octave + 1))
        if horizon >= _ROOM * needed
    )
