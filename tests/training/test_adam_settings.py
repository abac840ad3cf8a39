"""Betas and eps of an optimizer: read off it, and moved by a scaling rule."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from batchlab.errors import UsageError
from batchlab.records.study import AdamSettings
from batchlab.training.optimizers import adam_settings, move_adam_settings


def parameter() -> nn.Parameter:
    return nn.Parameter(torch.zeros(3))


def test_they_are_those_that_the_optimizer_was_made_with() -> None:
    made = torch.optim.AdamW([parameter()], lr=0.1, betas=(0.8, 0.99), eps=1e-6)

    assert adam_settings(made) == AdamSettings(betas=(0.8, 0.99), eps=1e-6)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.RMSprop, torch.optim.Adagrad])
def test_an_optimizer_without_betas_has_none(kind: type[torch.optim.Optimizer]) -> None:
    assert adam_settings(kind([parameter()], lr=0.1)) is None  # type: ignore[call-arg]


def test_of_several_groups_the_least_betas_count() -> None:
    made = torch.optim.Adam(
        [
            {"params": [parameter()], "betas": (0.9, 0.99), "eps": 1e-6},
            {"params": [parameter()], "betas": (0.8, 0.999)},
        ]
    )

    assert adam_settings(made) == AdamSettings(betas=(0.8, 0.99), eps=1e-6)


@pytest.mark.parametrize("betas", [0.9, (None, 0.99), (0.9, 0.99, 0.999), ("a", "b")])
def test_settings_of_another_kind_are_none(betas: object) -> None:
    made = torch.optim.Adam([parameter()])
    made.param_groups[0]["betas"] = betas

    assert adam_settings(made) is None


def test_every_group_moves_from_its_own_and_keeps_its_rate() -> None:
    made = torch.optim.Adam(
        [
            {"params": [parameter()], "lr": 0.1},
            {"params": [parameter()], "lr": 0.2, "betas": (0.8, 0.99), "eps": 1e-6},
        ]
    )

    move_adam_settings(made, rule="sde-adam", batch_size=128, reference_batch_size=32)

    first, second = made.param_groups
    assert first["betas"] == pytest.approx((0.6, 0.996))
    assert first["eps"] == pytest.approx(5e-9)
    assert second["betas"] == pytest.approx((0.2, 0.96))
    assert second["eps"] == pytest.approx(5e-7)
    assert (first["lr"], second["lr"]) == (0.1, 0.2)


@pytest.mark.parametrize("rule", ["none", "linear", "sqrt"])
def test_other_rules_leave_them_alone(rule: str) -> None:
    made = torch.optim.Adam([parameter()])

    move_adam_settings(made, rule=rule, batch_size=128, reference_batch_size=32)

    assert adam_settings(made) == AdamSettings()


def test_a_group_without_them_is_refused() -> None:
    made = torch.optim.SGD([parameter()], lr=0.1)

    with pytest.raises(UsageError, match=r"it moves betas and eps, and SGD does not have both"):
        move_adam_settings(made, rule="sde-adam", batch_size=128, reference_batch_size=32)
