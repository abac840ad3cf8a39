"""Scaling rules: how the learning rate and Adam's settings change with the batch size."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from batchlab.errors import UsageError

if TYPE_CHECKING:
    from batchlab.records.study import AdamSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalingRule:
    """A rule in terms of kappa = batch size / reference batch size.

    Attributes:
        rate_factor: a function of kappa that returns the factor of the learning rate.
        move_moments: gives the settings of Adam from those at the reference, or None if kappa is
            too large for them. None instead of a function if the rule changes only the rate.
        needs_adam: whether the rule is only for optimizers of Adam's kind.
    """

    rate_factor: Callable[[float], float]
    move_moments: Callable[[AdamSettings, float], AdamSettings | None] | None = None
    needs_adam: bool = False

    def moved(self, adam: AdamSettings, kappa: float) -> AdamSettings | None:
        """Return Adam's settings from those at the reference, or None if kappa is too large.

        A decoupled weight decay is scaled so that the weights decay as much per epoch as at the
        reference: learning rate × weight decay grows as kappa.

        Source: Wang & Aitchison 2024, arXiv:2405.13698; Bergsma et al. 2025, arXiv:2505.13738.
        """
        if self.move_moments is None:
            return adam
        moved = self.move_moments(adam, kappa)
        if moved is None or adam.weight_decay is None:
            return moved
        return replace(moved, weight_decay=adam.weight_decay * kappa / self.rate_factor(kappa))


def _sde(adam: AdamSettings, kappa: float) -> AdamSettings | None:
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


# With a smaller beta 2, at large batches, Adam forgets the last steps; losses spiked in practice.
_LEAST_BETA_2 = 0.9


def _same_half_life(adam: AdamSettings, kappa: float) -> AdamSettings:
    """Return beta 2 ** kappa, at least 0.9: the second moment keeps its half-life in examples.

    Source: Marek et al. 2025, arXiv:2507.07101; the floor is batchlab's.
    """
    first, second = adam.betas
    least = min(second, _LEAST_BETA_2)
    return replace(adam, betas=(first, max(least, second**kappa)))


# The rules in the order in which users see them. Sources: "linear", Goyal et al. 2017,
# arXiv:1706.02677; "sqrt", Hoffer et al. 2017, arXiv:1705.08741.
SCALING_RULES = {
    "none": ScalingRule(rate_factor=lambda kappa: 1.0),
    "linear": ScalingRule(rate_factor=lambda kappa: kappa, move_moments=_same_half_life),
    "sqrt": ScalingRule(rate_factor=math.sqrt, move_moments=_same_half_life),
    "sde-adam": ScalingRule(rate_factor=math.sqrt, move_moments=_sde, needs_adam=True),
}


def scaling_rule(name: str | float) -> ScalingRule:
    """Return the rule called `name`; a number is the exponent of the batch size in the rate."""
    if isinstance(name, int | float):
        if not name:
            return SCALING_RULES["none"]
        return ScalingRule(rate_factor=lambda kappa: kappa**name, move_moments=_same_half_life)
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
    """Return Adam's settings at `batch_size`, or None if the rule changes none of them.

    Raises:
        UsageError: the rule needs settings that `whose` does not have (None), or does not reach
            the batch size.
    """
    scaling = scaling_rule(rule)
    if scaling.move_moments is None:
        return None
    if adam is None:
        if not scaling.needs_adam:
            return None
        raise UsageError(
            f"scaling rule {rule}: it moves betas and eps, and {whose} does not have both; use an "
            f"optimizer of Adam's kind, or the rule sqrt or linear"
        )
    kappa = batch_size / reference_batch_size
    moved = scaling.moved(adam, kappa)
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


def settings_of(group: dict[str, Any], *, whose: str) -> AdamSettings | None:
    """Return the betas, eps and decoupled weight decay of a group; None without betas and eps.

    If a group does not say whether its decay is decoupled, the name of the optimizer (`whose`)
    decides: the decay of optimizers with AdamW in their name is decoupled.
    """
    from batchlab.records.study import AdamSettings  # the command line has no need of records

    betas = group.get("betas")
    if not (isinstance(betas, (tuple, list)) and len(betas) == 2 and "eps" in group):
        return None
    (first, second), eps = betas, group["eps"]
    if not all(isinstance(value, (int, float)) for value in (first, second, eps)):
        return None
    adam = AdamSettings(betas=(float(first), float(second)), eps=float(eps))
    decay = group.get("weight_decay")
    is_decoupled = group.get("decoupled_weight_decay", "adamw" in whose.lower())
    if is_decoupled and isinstance(decay, (int, float)):
        adam = replace(adam, weight_decay=float(decay))
    return adam


def moved_settings(settings: dict[str, Any], rule: str | float, *, whose: str, **sizes: int) -> Any:
    """Return the settings of a group that a rule changes, apart from the rate; {} if none."""
    adam = moved_adam(settings_of(settings, whose=whose), rule, whose=whose, **sizes)
    if adam is None:
        return {}
    moved = {"betas": adam.betas, "eps": adam.eps}
    if adam.weight_decay is not None:
        moved["weight_decay"] = adam.weight_decay
    return moved
