"""Horizon: how long a configuration is trained, next to the trainings of the reference."""

from __future__ import annotations

import math
from typing import Final

# A horizon is at least this many times the length to the level, because some seeds take longer.
_ROOM = 1.15


HORIZONS: Final = (0.5, 1.5, 2.0)
"""The lengths of other schedules that are tried, as multiples of the reference's."""


def horizon_for(needed: float) -> float:
    """Return the shortest of the horizons 1, 1.5, 2, 3, 4, 6, 8, ... with room for `needed`.

    Args:
        needed: the length to the level, over the length of the reference's training.
    """
    octave = math.floor(math.log2(max(_ROOM * needed, 1.0)))
    return next(
        horizon
        for horizon in (2.0**octave, 1.5 * 2.0**octave, 2.0 ** (octave + 1))
        if horizon >= _ROOM * needed
    )
