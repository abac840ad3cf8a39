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
    """A rule that changes optimizer settings with kappa = batch size / reference batch size.

    Attributes:
        rate_factor: a function of kappa that returns a factor on the learning rate.
        move_moments: a function that takes Adam's settings at the reference batch size, and kappa.
            It returns the scaled settings, or None if kappa is too large for the rule. Without this
            function, the rule changes only learning rates.
        needs_adam: whether the rule requires an optimizer with betas and eps, such as Adam.
    """

    rate_factor: Callable[[float], float]
    move_moments: Callable[[AdamSettings, float], AdamSettings | None] | None = None
    needs_adam: bool = False

    def moved(self, adam: AdamSettings, kappa: float) -> AdamSettings | None:
        """Return `adam` scaled to kappa × the reference batch size; None if kappa is too large.

        A decoupled weight decay is scaled so that the weights decay equally per epoch at every
        batch size: learning rate × weight decay is proportional to kappa.

        Source: Wang & Aitchison 2024, arXiv:2405.13698; Bergsma et al. 2025, arXiv:2505.13738.
        """
        if self.move_moments is None:
            return adam
        moved = self.move_moments(adam, kappa)
        if moved is None or adam.weight_decay is None:
            return moved
        return replace(moved, weight_decay=adam.weight_decay * kappa / self.rate_factor(kappa))


def _sde(adam: AdamSettings, kappa: float) -> AdamSettings | None:
    """Change each beta to 1 - kappa (1 - beta), and eps to eps / sqrt(kappa).

    Return None if a beta would be 0 or less. With the scaled settings, Adam approximates the same
    stochastic differential equation at all batch sizes, as long as gradients are mostly noise.

    Source: Malladi et al. 2022, arXiv:2205.10287, definition 5.2.
    """
    # Refuse beta 0.9 with kappa 10, although rounding makes 10 × (1 - 0.9) slightly less than 1.
    if any(kappa * (1 - beta) >= 1 - 1e-12 for beta in adam.betas):
        return None
    first, second = (1 - kappa * (1 - beta) for beta in adam.betas)
    return replace(adam, betas=(first, second), eps=adam.eps / math.sqrt(kappa))


# The least beta 2 that `_same_half_life` sets: a smaller beta 2 made losses spike in large batches.
_LEAST_BETA_2 = 0.9


def _same_half_life(adam: AdamSettings, kappa: float) -> AdamSettings:
    """Change beta 2 to beta 2 ** kappa, so that Adam's average keeps its half-life in examples.

    The new beta 2 is at least 0.9, or the old beta 2 if that is smaller.

    Source: Marek et al. 2025, arXiv:2507.07101; the limit of 0.9 was added by batchlab.
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
    """Return the rule called `name`; a number e means a rate in proportion to batch size ** e."""
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
    """Return Adam's settings `adam` scaled to `batch_size`.

    Return None if `adam` is None and the rule does not need it, or if the rule changes only rates.

    Raises:
        UsageError: the rule needs Adam's settings and the optimizer, called `whose`, has none; or
            the batch size is too large for the rule.
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
    """Return a parameter group's betas, eps and decoupled weight decay; None without betas or eps.

    Weight decay is decoupled if `decoupled_weight_decay` of the group is true. In a group without
    this key, it is decoupled if the optimizer's name (`whose`) contains AdamW.
    """
    from batchlab.records.study import AdamSettings  # loaded late to start the command line fast

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
    """Return new values for the settings, other than the learning rate, that `rule` changes.

    `settings` is a parameter group. The result is {} if the rule changes nothing.
    """
    adam = moved_adam(settings_of(settings, whose=whose), rule, whose=whose, **sizes)
    if adam is None:
        return {}
    moved = {"betas": adam.betas, "eps": adam.eps}
    if adam.weight_decay is not None:
        moved["weight_decay"] = adam.weight_decay
    return moved
