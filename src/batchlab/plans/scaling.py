"""Scaling rules: how learning rate and Adam's settings follow the batch size."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from batchlab.errors import UsageError

if TYPE_CHECKING:
    from batchlab.records.study import AdamSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalingRule:
    """A rule by kappa, which is the batch size over the reference batch size.

    Attributes:
        rate_factor: gives the factor of the rate.
        move_adam: gives the settings of Adam from those at the reference, or None if kappa is too
            large for them. It is None itself if the rule leaves them as they are.
    """

    rate_factor: Callable[[float], float]
    move_adam: Callable[[AdamSettings, float], AdamSettings | None] | None = None


def _moved(adam: AdamSettings, kappa: float) -> AdamSettings | None:
    """Return betas 1 - kappa (1 - beta) and eps / sqrt(kappa), or None if a beta would be <= 0.

    Over the same examples Adam then follows the same stochastic differential equation, which
    assumes gradients that are mostly noise.

    Source: Malladi et al. 2022, arXiv:2205.10287, definition 5.2.
    """
    # 1 - 0.9 is not quite 0.1 as a float, but kappa = 10 has to be refused.
    if any(kappa * (1 - beta) >= 1 - 1e-12 for beta in adam.betas):
        return None
    first, second = (1 - kappa * (1 - beta) for beta in adam.betas)
    return replace(adam, betas=(first, second), eps=adam.eps / math.sqrt(kappa))


# At large batches beta 2 would forget even the last steps, which made losses spike in practice.
_LEAST_BETA_2 = 0.9


def _same_half_life(adam: AdamSettings, kappa: float) -> AdamSettings:
    """Return beta 2 ** kappa, at least 0.9, so the second moment's half-life in examples stays.

    Source: Marek et al. 2025, arXiv:2507.07101; the floor is batchlab's.
    """
    first, second = adam.betas
    least = min(second, _LEAST_BETA_2)
    return replace(adam, betas=(first, max(least, second**kappa)))


# They are in the order in which users see them. The rate stays, grows as the batch size (Goyal et
# al. 2017, arXiv:1706.02677), as its root (Hoffer et al. 2017, arXiv:1705.08741), or as its root
# with a change of Adam's settings.
SCALING_RULES = {
    "none": ScalingRule(rate_factor=lambda kappa: 1.0),
    "linear": ScalingRule(rate_factor=lambda kappa: kappa),
    "sqrt": ScalingRule(rate_factor=math.sqrt),
    "sde-adam": ScalingRule(rate_factor=math.sqrt, move_adam=_moved),
    "half-life": ScalingRule(rate_factor=math.sqrt, move_adam=_same_half_life),
}


def scaling_rule(name: str | float) -> ScalingRule:
    """Return the rule called `name`; a number is the exponent of the batch size in the rate."""
    if isinstance(name, int | float):
        return ScalingRule(rate_factor=lambda kappa: kappa**name)
    if name not in SCALING_RULES:
        raise UsageError(f"scaling rule {name!r}: expected one of {', '.join(SCALING_RULES)}")
    return SCALING_RULES[name]


def moved_adam(
    adam: AdamSettings | None,
    rule: str | float,
    *,
    batch_size: int,
    reference_batch_size: int,
    whose: str,
) -> AdamSettings | None:
    """Return a rule's betas and eps from those at the reference, or None if it changes neither.

    Raises:
        UsageError: `whose` does not have both (None), or the rule does not reach the batch size.
    """
    move = scaling_rule(rule).move_adam
    if move is None:
        return None
    if adam is None:
        raise UsageError(
            f"scaling rule {rule}: it moves betas and eps, and {whose} does not have both; use an "
            f"optimizer of Adam's kind, or the rule sqrt or linear"
        )
    kappa = batch_size / reference_batch_size
    moved = move(adam, kappa)
    if moved is None:
        least = min(adam.betas)
        name = "beta 1" if least == adam.betas[0] else "beta 2"
        largest = math.ceil(reference_batch_size / (1 - least) - 1e-9) - 1
        raise UsageError(
            f"scaling rule {rule} from batch size {reference_batch_size} to {batch_size}: {name} = "
            f"{least:g} would become {1 - kappa * (1 - least):.3g}, and has to stay above 0; stay "
            f"at batch sizes up to {largest}, use the rule sqrt, or tune the rate"
        )
    return moved
