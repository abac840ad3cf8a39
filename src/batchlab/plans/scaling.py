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
    """A rule.

    Attributes:
        rate_factor: what the rate is multiplied with where the batch size is multiplied with kappa.
        move_adam: the settings of Adam at a batch size, from (those at the reference, the batch
            size, the reference batch size); None: the rule leaves them as they are.
    """

    rate_factor: Callable[[float], float]
    move_adam: Callable[[AdamSettings, int, int], AdamSettings] | None = None


def _moved(adam: AdamSettings, batch_size: int, reference_batch_size: int) -> AdamSettings:
    """Betas 1 - kappa (1 - beta) and eps / sqrt(kappa), kappa the ratio of the batch sizes.

    Over the same examples the same stochastic differential equation is followed; it assumes
    gradients that are mostly noise.

    Raises:
        UsageError: so far from the reference that a beta would not be above 0.
    Source: Malladi et al. 2022, arXiv:2205.10287, definition 5.2.
    """
    kappa = batch_size / reference_batch_size
    for name, beta in zip(("beta 1", "beta 2"), adam.betas, strict=True):
        # 1 - 0.9 is not quite 0.1, and kappa = 10 has to be refused all the same.
        if kappa * (1 - beta) >= 1 - 1e-12:
            largest = math.ceil(reference_batch_size / (1 - beta) - 1e-9) - 1
            raise UsageError(
                f"scaling rule sde-adam from batch size {reference_batch_size} to {batch_size}: "
                f"{name} = {beta:g} would become {1 - kappa * (1 - beta):.3g}, and has to stay "
                f"above 0; stay at batch sizes up to {largest}, use the rule sqrt, or tune the rate"
            )
    first, second = (1 - kappa * (1 - beta) for beta in adam.betas)
    return replace(adam, betas=(first, second), eps=adam.eps / math.sqrt(kappa))


# In the order in which people are shown them. The rate stays, grows as the batch size (Goyal et
# al. 2017, arXiv:1706.02677), as its root (Hoffer et al. 2017, arXiv:1705.08741), or by `_moved`.
SCALING_RULES = {
    "none": ScalingRule(rate_factor=lambda kappa: 1.0),
    "linear": ScalingRule(rate_factor=lambda kappa: kappa),
    "sqrt": ScalingRule(rate_factor=math.sqrt),
    "sde-adam": ScalingRule(rate_factor=math.sqrt, move_adam=_moved),
}


def scaling_rule(name: str) -> ScalingRule:
    """The rule called `name`.

    Raises:
        UsageError: there is no such rule.
    """
    if name not in SCALING_RULES:
        raise UsageError(f"scaling rule {name!r}: expected one of {', '.join(SCALING_RULES)}")
    return SCALING_RULES[name]


def moves_adam(rule: str) -> bool:
    """Whether the rule called `rule` moves Adam's betas and eps beside the learning rate."""
    return scaling_rule(rule).move_adam is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaled:
    """What goes with a batch size under a rule.

    Attributes:
        learning_rate: the rate.
        adam: betas and eps; None: the rule leaves the optimizer's settings as they are.
    """

    learning_rate: float
    adam: AdamSettings | None = None


def scaled(
    learning_rate: float,
    *,
    rule: str,
    batch_size: int,
    reference_batch_size: int,
    adam: AdamSettings | None = None,
) -> Scaled:
    """The learning rate and settings for `batch_size` when those given fit the reference.

    Args:
        learning_rate: at the reference batch size, > 0.
        rule: the name of a rule.
        batch_size: examples per step, >= 1.
        reference_batch_size: examples per step, >= 1.
        adam: the settings at the reference batch size, for a rule that moves them; None: PyTorch's
            defaults.

    Raises:
        UsageError: an unknown rule, or a batch size that the rule does not reach from there.
    """
    rate = scaled_learning_rate(
        learning_rate, rule=rule, batch_size=batch_size, reference_batch_size=reference_batch_size
    )
    move = scaling_rule(rule).move_adam
    if move is None:
        return Scaled(learning_rate=rate)
    from batchlab.records.study import AdamSettings  # it loads NumPy, which --help does not need

    return Scaled(
        learning_rate=rate, adam=move(adam or AdamSettings(), batch_size, reference_batch_size)
    )


def scaled_learning_rate(
    learning_rate: float, *, rule: str, batch_size: int, reference_batch_size: int
) -> float:
    """The learning rate alone of `scaled`, whatever becomes of the betas.

    Args:
        learning_rate: at the reference batch size, > 0.
        rule: the name of a rule.
        batch_size: examples per step, >= 1.
        reference_batch_size: examples per step, >= 1.

    Raises:
        UsageError: an unknown rule.
    """
    return learning_rate * scaling_rule(rule).rate_factor(batch_size / reference_batch_size)


def without_adam_settings(what: str, *, rule: str) -> UsageError:
    """The error where `what` has no betas and eps for `rule` to move."""
    return UsageError(
        f"scaling rule {rule}: it moves betas and eps, and {what} does not have both; use an "
        f"optimizer of Adam's kind, or the rule sqrt or linear"
    )
