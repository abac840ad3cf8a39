"""Scaling rules: how learning rate and Adam's settings follow the batch size from a reference."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from batchlab.errors import UsageError
from batchlab.records.adam_settings import AdamSettings

SDE_ADAM = "sde-adam"
# Each rule: factor of the learning rate for a factor of the batch size.
SCALING_RULES: dict[str, Callable[[float], float]] = {
    "none": lambda factor: 1.0,
    "linear": lambda factor: factor,  # Goyal et al. 2017, arXiv:1706.02677
    "sqrt": math.sqrt,  # Hoffer et al. 2017, arXiv:1705.08741
    SDE_ADAM: math.sqrt,  # Malladi et al. 2022, arXiv:2205.10287; moves betas and eps as well
}


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
        rule: a name of `SCALING_RULES`.
        batch_size: examples per step, >= 1.
        reference_batch_size: examples per step, >= 1.
        adam: the settings at the reference batch size, for "sde-adam"; None: PyTorch's defaults.

    Returns:
        With kappa = batch_size / reference_batch_size "sde-adam" gives the rate times sqrt(kappa),
        betas 1 - kappa (1 - beta) and eps / sqrt(kappa): the same stochastic differential equation
        over the same examples. It assumes gradients that are mostly noise.

    Raises:
        UsageError: an unknown rule, or "sde-adam" so far from the reference that a beta would not
            be above 0.
    Source: Goyal et al. 2017, arXiv:1706.02677 (linear); Hoffer et al. 2017, arXiv:1705.08741
        (square root); Malladi et al. 2022, arXiv:2205.10287, definition 5.2 (sde-adam).
    """
    rate = scaled_learning_rate(
        learning_rate, rule=rule, batch_size=batch_size, reference_batch_size=reference_batch_size
    )
    if rule != SDE_ADAM:
        return Scaled(learning_rate=rate)
    adam = adam or AdamSettings()
    kappa = batch_size / reference_batch_size
    for name, beta in zip(("beta 1", "beta 2"), adam.betas, strict=True):
        # 1 - 0.9 is not quite 0.1, and kappa = 10 has to be refused all the same.
        if kappa * (1 - beta) >= 1 - 1e-12:
            largest = math.ceil(reference_batch_size / (1 - beta) - 1e-9) - 1
            raise UsageError(
                f"scaling rule {rule} from batch size {reference_batch_size} to {batch_size}: "
                f"{name} = {beta:g} would become {1 - kappa * (1 - beta):.3g}, and has to stay "
                f"above 0; stay at batch sizes up to {largest}, use the rule sqrt, or tune the rate"
            )
    first, second = (1 - kappa * (1 - beta) for beta in adam.betas)
    return Scaled(
        learning_rate=rate,
        adam=AdamSettings(betas=(first, second), eps=adam.eps / math.sqrt(kappa)),
    )


def scaled_learning_rate(
    learning_rate: float, *, rule: str, batch_size: int, reference_batch_size: int
) -> float:
    """The learning rate alone of `scaled`, whatever becomes of the betas.

    Args:
        learning_rate: at the reference batch size, > 0.
        rule: a name of `SCALING_RULES`.
        batch_size: examples per step, >= 1.
        reference_batch_size: examples per step, >= 1.

    Raises:
        UsageError: an unknown rule.
    """
    if rule not in SCALING_RULES:
        raise UsageError(f"scaling rule {rule!r}: expected one of {', '.join(SCALING_RULES)}")
    return learning_rate * SCALING_RULES[rule](batch_size / reference_batch_size)


def without_adam_settings(what: str) -> UsageError:
    """The error where `what` has no betas and eps for the rule to move."""
    return UsageError(
        f"scaling rule {SDE_ADAM}: it moves betas and eps, and {what} does not have both; use an "
        f"optimizer of Adam's kind, or the rule sqrt or linear"
    )
