"""The plateau's definition on a curve without noise: nothing is fitted."""

from __future__ import annotations

from collections.abc import Callable


def first_flat_epoch(
    curve: Callable[[float], float | None], *, n_epochs: int, horizon_epochs: int, delta: float
) -> int | None:
    """The first epoch k in 1..n_epochs with curve(k + h) - curve(k) < delta, None without one."""
    for k in range(1, n_epochs + 1):
        now, later = curve(float(k)), curve(float(k + horizon_epochs))
        assert now is not None
        assert later is not None
        if later - now < delta:
            return k
    return None
