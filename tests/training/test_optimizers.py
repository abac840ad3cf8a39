"""Optimizers: what a workload may return, their rates along the run, and averages of weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.reference.engine_run import run_engine
from tests.reference.made_up import made_up_trial
from tests.reference.small_workloads import small_mlp, small_trial, small_workload
from torch import nn
from torch.optim import lr_scheduler

from batchlab.errors import UsageError, WorkloadError
from batchlab.records.run import RunLength
from batchlab.records.study import AdamSettings
from batchlab.records.trial import Trial
from batchlab.training.checkpoint import load_checkpoint
from batchlab.training.optimizers import (
    AveragedWeights,
    adam_settings,
    made_optimizers,
    move_settings,
)
from batchlab.training.stepper import Stepper
from batchlab.workload.definition import Workload


def decayed(named_parameters: Any, learning_rate: float, decay: float = 0.1) -> Any:
    named = list(named_parameters)
    weights = [part for name, part in named if name.endswith("weight")]
    biases = [part for name, part in named if name.endswith("bias")]
    groups = [{"params": weights, "weight_decay": decay}, {"params": biases, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=learning_rate)


def workload(optimizer: Any, **fields: Any) -> Workload:
    return replace(small_workload(optimizer=optimizer), **fields)


def test_one_that_asks_for_names_gets_them_and_others_parameters() -> None:
    model = small_mlp()

    made = made_optimizers(workload(decayed), model, 0.1)
    other = made_optimizers(workload(torch.optim.SGD), model, 0.1)

    groups = made.optimizers[0].param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert groups[0]["params"][0] is model.get_parameter("0.weight")
    assert groups[1]["params"][1] is model.get_parameter("3.bias")
    assert other.optimizers[0].param_groups[0]["params"] == list(model.parameters())


def several(parameters: Any, learning_rate: float) -> dict[str, Any]:
    return {
        "scaler": torch.amp.GradScaler("cpu"),
        "first": torch.optim.SGD(parameters[:2], lr=learning_rate),
        "last": torch.optim.Adam(parameters[2:], lr=learning_rate),
    }


def test_a_dict_holds_optimizers_and_what_else_is_kept() -> None:
    made = made_optimizers(workload(several, step=lambda *_: None), small_mlp(), 0.1)

    assert [type(each).__name__ for each in made.optimizers] == ["SGD", "Adam"]
    assert made.given["last"] is made.optimizers[1]
    assert sorted(made.kept) == ["optimizer last", "optimizer scaler"]


@pytest.mark.parametrize(
    ("optimizer", "fields", "told"),
    [
        *(
            (lambda parameters, rate, returned=returned: returned, {"step": lambda *_: None}, told)
            for returned, told in (
                (None, "`optimizer` returned a NoneType"),
                ({"a": 3}, "has an object of type int under 'a'"),
                ({"a": torch.amp.GradScaler("cpu")}, "has no torch.optim.Optimizer in it"),
            )
        ),
        (several, {}, "only a `step` of your own knows when each of them"),
    ],
)
def test_anything_else_is_refused(optimizer: Any, fields: dict[str, Any], told: str) -> None:
    with pytest.raises(WorkloadError, match=told):
        made_optimizers(workload(optimizer, **fields), small_mlp(), 0.1)


def parameter() -> nn.Parameter:
    return nn.Parameter(torch.zeros(3))


def with_betas(betas: Any) -> torch.optim.Optimizer:
    made = torch.optim.Adam([parameter()])
    made.param_groups[0]["betas"] = betas
    return made


OWN = {"params": [parameter()], "betas": (0.9, 0.99), "eps": 1e-6}


@pytest.mark.parametrize(
    ("made", "settings"),
    [
        (
            torch.optim.AdamW([dict(OWN), {"params": [parameter()], "weight_decay": 0.2}]),
            AdamSettings(betas=(0.9, 0.99), eps=1e-6, weight_decay=0.2),
        ),
        (  # of several groups the least betas count
            torch.optim.Adam([dict(OWN), {"params": [parameter()], "betas": (0.8, 0.999)}]),
            AdamSettings(betas=(0.8, 0.99), eps=1e-6),
        ),
        *((kind([parameter()], lr=0.1), None) for kind in (torch.optim.SGD, torch.optim.Adagrad)),
        *((with_betas(odd), None) for odd in (0.9, (None, 0.99), (0.9, 0.99, 0.999), ("a", "b"))),
    ],
)
def test_adams_settings_are_those_that_the_optimizer_has(
    made: torch.optim.Optimizer, settings: AdamSettings | None
) -> None:
    assert adam_settings(made) == settings


def scaled_by(rule: str) -> Trial:
    return made_up_trial(batch_size=128, n_train=1000, scaling_rule=rule)


def test_every_group_moves_from_its_own_and_keeps_its_rate() -> None:
    made = torch.optim.Adam(
        [
            {"params": [parameter()], "lr": 0.1},
            {"params": [parameter()], "lr": 0.2, "betas": (0.8, 0.99), "eps": 1e-6},
        ]
    )

    move_settings(made, scaled_by("sde-adam"), reference_batch_size=32)

    first, second = made.param_groups
    assert first["betas"] == pytest.approx((0.6, 0.996))
    assert first["eps"] == pytest.approx(5e-9)
    assert second["betas"] == pytest.approx((0.2, 0.96))
    assert second["eps"] == pytest.approx(5e-7)
    assert (first["lr"], second["lr"]) == (0.1, 0.2)


def test_a_group_without_weight_decay_keeps_none() -> None:
    made = torch.optim.AdamW(
        [{"params": [parameter()]}, {"params": [parameter()], "weight_decay": 0.0}],
        weight_decay=0.1,
    )

    move_settings(made, scaled_by("sqrt"), reference_batch_size=32)

    assert [group["weight_decay"] for group in made.param_groups] == [0.2, 0.0]


def test_a_multiple_of_the_weight_decay_comes_on_top_of_what_moves_with_the_batch_size() -> None:
    groups = [{"params": [parameter()]}, {"params": [parameter()], "weight_decay": 0.0}]
    made = torch.optim.AdamW(groups, weight_decay=0.1)
    trial = replace(scaled_by("sqrt"), weight_decay_factor=0.25)

    move_settings(made, trial, reference_batch_size=32)

    assert [group["weight_decay"] for group in made.param_groups] == [0.05, 0.0]


def test_an_optimizer_that_knows_no_weight_decay_is_left_as_it_is() -> None:
    made = torch.optim.Rprop([parameter()], lr=0.1)
    before = dict(made.param_groups[0])

    move_settings(
        made, replace(scaled_by("none"), weight_decay_factor=4.0), reference_batch_size=32
    )

    assert made.param_groups[0] == before


def test_a_group_without_them_is_refused() -> None:
    made = torch.optim.SGD([parameter()], lr=0.1)

    with pytest.raises(UsageError, match=r"it moves betas and eps, and SGD does not have both"):
        move_settings(made, scaled_by("sde-adam"), reference_batch_size=32)


CPU = torch.device("cpu")


def test_the_raw_weights_come_back_from_an_error_too() -> None:
    model = small_mlp()
    averaged = AveragedWeights(model)
    nn.init.ones_(model.get_parameter("0.weight"))

    with pytest.raises(ZeroDivisionError), averaged.in_place_of_raw():
        raise ZeroDivisionError

    assert bool((model.get_parameter("0.weight") == 1).all())


def test_buffers_are_averaged_and_counts_are_not() -> None:
    model = nn.BatchNorm1d(2)
    averaged = AveragedWeights(model)
    model(torch.tensor([[0.0, 2.0], [4.0, 6.0]]))
    averaged.update(0.75)

    with averaged.in_place_of_raw():
        inside = {name: part.clone() for name, part in model.named_buffers()}

    assert inside["running_mean"].tolist() == pytest.approx([0.25 * 0.1 * 2, 0.25 * 0.1 * 4])
    assert int(inside["num_batches_tracked"]) == 1


def test_a_buffer_that_grows_follows_the_model() -> None:
    model = nn.Module()
    model.weight = nn.Parameter(torch.ones(1))
    model.register_buffer("state", torch.zeros(0))
    averaged = AveragedWeights(model)
    model.state = torch.ones(3)

    averaged.update(0.9)

    assert averaged.state_dict()["state"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.complex64])
def test_weights_of_any_kind_are_averaged_in_enough_digits(dtype: torch.dtype) -> None:
    """A thousandth of the way to one, 2000 times."""
    model = nn.Linear(2, 2, dtype=dtype)
    nn.init.zeros_(model.weight)
    averaged = AveragedWeights(model)
    nn.init.ones_(model.weight)

    for _ in range(2000):
        averaged.update(0.999)

    with averaged.in_place_of_raw():
        inside = model.weight.detach().clone()
    assert inside.dtype == dtype
    assert inside[0, 0].item() == pytest.approx(1 - 0.999**2000, rel=2**-8)
    assert bool((model.weight == 1).all())


STEPS_AN_EPOCH, N_STEPS = 5, 20


def scheduled(scheduler: Any, **fields: Any) -> Workload:
    return replace(small_workload(), scheduler=scheduler, **fields)


def watched(workload: Workload, n_steps: int = N_STEPS) -> tuple[Stepper, list[float]]:
    """A stepper after the run, and the rate of every step."""
    trial = small_trial(workload, batch_size=8, horizon_steps=N_STEPS)
    stepper = Stepper(workload, trial, CPU)
    rates: list[float] = []
    stepper.optimizer.register_step_pre_hook(
        lambda optimizer, args, kwargs: rates.append(optimizer.param_groups[0]["lr"])
    )
    stepper.steps(stepper.stream(0), n_steps, first_step=0)
    return stepper, rates


def test_several_schedulers_of_several_optimizers_all_go_on() -> None:
    def optimizer(parameters: Any, learning_rate: float) -> Any:
        return {
            "a": torch.optim.SGD(parameters[:2], lr=learning_rate),
            "b": torch.optim.SGD(parameters[2:], lr=learning_rate),
        }

    def step(model: Any, optimizers: Any, batch: Any) -> torch.Tensor:
        for each in optimizers.values():
            each.step()
        return torch.zeros(())

    workload = replace(
        small_workload(optimizer=optimizer),
        step=step,
        scheduler=lambda made: [
            lr_scheduler.ExponentialLR(made["a"], 0.5), lr_scheduler.ExponentialLR(made["b"], 0.1)
        ],
    )  # fmt: skip

    stepper, _ = watched(workload, n_steps=6)

    rates = [each.param_groups[0]["lr"] for each in stepper.optimizers]
    assert rates == pytest.approx([0.025, 0.005])


def plateau(optimizer: Any) -> Any:
    return lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=0.5, patience=0, threshold=0.5
    )


class TestPlateau:
    def test_it_goes_by_the_metric_that_counts_at_epoch_ends(self, tmp_path: Path) -> None:
        workload = scheduled(plateau)
        trial = small_trial(workload, batch_size=8, horizon_steps=N_STEPS)

        run = run_engine(workload, trial, RunLength(steps=N_STEPS), checkpoint=tmp_path / "kept")

        twin = plateau(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.05))
        for evaluation in run.evaluations:
            if evaluation.step and evaluation.step % STEPS_AN_EPOCH == 0:
                twin.step(evaluation.score("validation", "accuracy"))
        stepper = Stepper(workload, trial, CPU)
        optimizer = stepper.optimizer
        load_checkpoint(
            tmp_path / "kept", model=stepper.model, optimizer=optimizer, beside=stepper.kept
        )
        rate = optimizer.param_groups[0]["lr"]
        assert rate == twin.optimizer.param_groups[0]["lr"] < 0.05

    def test_the_wrong_direction_is_refused(self) -> None:
        workload = scheduled(lambda optimizer: lr_scheduler.ReduceLROnPlateau(optimizer))

        with pytest.raises(WorkloadError, match="better higher; give it mode='max'"):
            watched(workload, n_steps=1)


def test_what_is_no_scheduler_is_refused() -> None:
    with pytest.raises(WorkloadError, match="`scheduler` returned a float; expected a scheduler"):
        watched(scheduled(lambda optimizer: 0.5), n_steps=1)
