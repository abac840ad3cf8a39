"""Scaling rules: how learning rate and Adam's settings follow the batch size."""

from __future__ import annotations

from dataclasses import dataclass

import batchlab.plans.scaling_rules as _RULES
from batchlab.errors import UsageError
from batchlab.plans.scaling_rule import ScalingRule
from batchlab.records.adam_settings import AdamSettings
from batchlab.registry import row_module, row_names


def scaling_rules() -> dict[str, ScalingRule]:
    """Every rule by its name, in the order in which people are shown them."""
    rows = {name: row_module(_RULES, name).RULE for name in row_names(_RULES)}
    return dict(sorted(rows.items(), key=lambda row: (row[1].place, row[0])))


def scaling_rule(name: str) -> ScalingRule:
    """The rule called `name`.

    Raises:
        UsageError: there is no such rule.
    """
    rules = scaling_rules()
    if name not in rules:
        raise UsageError(f"scaling rule {name!r}: expected one of {', '.join(rules)}")
    return rules[name]


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
