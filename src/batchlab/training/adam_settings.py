"""Betas and eps of an optimizer as it was made, and as a scaling rule moves them."""

from __future__ import annotations

from typing import Any

import torch

from batchlab.planning.scaling import moves_adam, scaled, without_adam_settings
from batchlab.records.adam_settings import AdamSettings


def adam_settings(*optimizers: torch.optim.Optimizer) -> AdamSettings | None:
    """The least betas over all parameter groups, and the first one's eps.

    What a rule can do with the least betas it can do with every group's. None: a group does not
    have two betas and eps, as numbers.
    """
    found = [_settings_of(group) for each in optimizers for group in each.param_groups]
    known = [settings for settings in found if settings is not None]
    if not known or len(known) < len(found):
        return None
    first, second = (min(settings.betas[place] for settings in known) for place in (0, 1))
    return AdamSettings(betas=(first, second), eps=known[0].eps)


def move_adam_settings(
    optimizer: torch.optim.Optimizer, *, rule: str, batch_size: int, reference_batch_size: int
) -> None:
    """Give every parameter group the betas and eps that `rule` has for `batch_size`.

    The rate is not touched: a trial has it after scaling. Rules that leave betas and eps alone
    change nothing.

    Args:
        optimizer: as the workload makes it, with the settings for its reference batch size.
        rule: the name of a scaling rule.
        batch_size: examples per step, >= 1.
        reference_batch_size: examples per step, >= 1.

    Raises:
        UsageError: the rule moves what a group does not have, or further than it can go.
    """
    if not moves_adam(rule):
        return
    for group in optimizer.param_groups:
        adam = _settings_of(group)
        if adam is None:
            raise without_adam_settings(type(optimizer).__name__, rule=rule)
        moved = scaled(
            1.0,
            rule=rule,
            batch_size=batch_size,
            reference_batch_size=reference_batch_size,
            adam=adam,
        ).adam
        assert moved is not None
        group["betas"], group["eps"] = moved.betas, moved.eps


def _settings_of(group: dict[str, Any]) -> AdamSettings | None:
    betas = group.get("betas")
    if not (isinstance(betas, (tuple, list)) and len(betas) == 2 and "eps" in group):
        return None
    (first, second), eps = betas, group["eps"]
    if not all(isinstance(value, (int, float)) for value in (first, second, eps)):
        return None
    return AdamSettings(betas=(float(first), float(second)), eps=float(eps))
