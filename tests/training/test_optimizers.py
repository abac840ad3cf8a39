"""Optimizers: what a workload may return, their rates along the run, and averages of weights."""

from typing import Any

import pytest
import torch
from tests.reference.engine_run import peek, run_engine
from tests.reference.made_up import made_up_trial
from tests.reference.small_workloads import plateau, small_mlp, small_trial, small_workload
from torch import nn

from batchlab.errors import UsageError, WorkloadError
from batchlab.records.run import RunLength
from batchlab.records.study import AdamSettings
from batchlab.training.checkpoint import load_checkpoint
from batchlab.training.optimizers import (
    adam_settings,
    averaged_model,
    made_optimizers,
    move_settings,
    update_average,
)
from batchlab.training.stepper import Stepper


def decayed(named_parameters: Any, learning_rate: float) -> Any:
    named = list(named_parameters)
    weights = [parameter for name, parameter in named if name.endswith("weight")]
    biases = [parameter for name, parameter in named if name.endswith("bias")]
    groups = [{"params": weights, "weight_decay": 0.1}, {"params": biases, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=learning_rate)


def several(parameters: Any, learning_rate: float) -> dict[str, Any]:
    return {
        "scaler": torch.amp.GradScaler("cpu"),
        "first": torch.optim.SGD(parameters[:2], lr=learning_rate),
        "last": torch.optim.Adam(parameters[2:], lr=learning_rate),
    }


def test_one_that_asks_for_names_gets_them_and_a_dict_holds_what_else_is_kept():
    model = small_mlp()

    named, other = (
        made_optimizers(small_workload(optimizer=each), model, 0.1)
        for each in (decayed, torch.optim.SGD)
    )
    made = made_optimizers(
        small_workload(optimizer=several, step=lambda *_: None), small_mlp(), 0.1
    )

    groups = named.optimizers[0].param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert groups[0]["params"][0] is model.get_parameter("0.weight")
    assert groups[1]["params"][1] is model.get_parameter("3.bias")
    assert other.optimizers[0].param_groups[0]["params"] == list(model.parameters())
    assert [type(optimizer).__name__ for optimizer in made.optimizers] == ["SGD", "Adam"]
    assert made.given["last"] is made.optimizers[1]
    assert sorted(made.kept) == [f"optimizer {name}" for name in ("first", "last", "scaler")]


@pytest.mark.parametrize(("optimizer", "step", "message"), [
    (lambda *_: None, print, "`optimizer` returned NoneType"),
    (lambda *_: {}, print, "returned an empty dict; expected"),
    (lambda *_: {"a": 3}, print, "returned int; expected"),
    (lambda *_: {"a": torch.amp.GradScaler("cpu")}, print, "returned GradScaler; expected"),
    (several, None, "only a `step` of your own knows when each of them"),
])  # fmt: skip
def test_anything_else_is_refused(optimizer, step, message):
    with pytest.raises(WorkloadError, match=message):
        made_optimizers(small_workload(optimizer=optimizer, step=step), small_mlp(), 0.1)


# ---- settings that move


def group(**settings: Any) -> dict[str, Any]:
    return {"params": [nn.Parameter(torch.zeros(3))], **settings}


def with_betas(betas: Any) -> torch.optim.Optimizer:
    optimizer = torch.optim.Adam([group()])
    optimizer.param_groups[0]["betas"] = betas
    return optimizer


OWN = {"betas": (0.9, 0.99), "eps": 1e-6}


@pytest.mark.parametrize(("optimizer", "settings"), [
    (torch.optim.AdamW([group(**OWN), group(weight_decay=0.2)]), AdamSettings(
        **OWN, weight_decay=0.2)),
    # Of several groups the least betas count.
    (torch.optim.Adam([group(**OWN), group(betas=(0.8, 0.999))]), AdamSettings(
        betas=(0.8, 0.99), eps=1e-6)),
    (torch.optim.SGD([group()], lr=0.1), None),
    (torch.optim.Adagrad([group()]), None),
    *((with_betas(odd), None) for odd in (0.9, (None, 0.99), (0.9, 0.99, 0.999), ("a", "b"))),
])  # fmt: skip
def test_adams_settings_are_those_that_the_optimizer_has(optimizer, settings):
    assert adam_settings(optimizer) == settings


def moved(optimizer: torch.optim.Optimizer, rule: str) -> list[dict[str, Any]]:
    """The groups after moving from 32 to 128 examples."""
    trial = made_up_trial(batch_size=128, n_train=1000, scaling_rule=rule)
    move_settings(optimizer, trial, reference_batch_size=32)
    return optimizer.param_groups


def test_every_group_moves_from_its_own_and_keeps_its_rate():
    own = group(lr=0.2, betas=(0.8, 0.99), eps=1e-6)

    first, second = moved(torch.optim.Adam([group(lr=0.1), own]), "sde-adam")

    assert first["betas"] == pytest.approx((0.6, 0.996))
    assert second["betas"] == pytest.approx((0.2, 0.96))
    assert (first["eps"], second["eps"]) == pytest.approx((5e-9, 5e-7))
    assert (first["lr"], second["lr"]) == (0.1, 0.2)
    optimizer = torch.optim.AdamW([group(), group(weight_decay=0.0)], weight_decay=0.1)
    assert [each["weight_decay"] for each in moved(optimizer, "sqrt")] == [0.2, 0.0]
    with pytest.raises(UsageError, match=r"it moves betas and eps, and SGD does not have both"):
        moved(torch.optim.SGD([group()], lr=0.1), "sde-adam")


# ---- averages of weights


def test_buffers_are_averaged_and_counts_are_the_models():
    workload = small_workload(model=lambda: nn.BatchNorm1d(2), ema=0.75)
    model = workload.model()
    model.register_buffer("count", torch.tensor(29))  # PyTorch would make 28 of it
    averaged = averaged_model(workload, model)
    model.register_buffer("made_later", torch.ones(1))
    model(torch.tensor([[0.0, 2.0], [4.0, 6.0]]))

    for _ in range(2):
        update_average(averaged, model, 0.9)

    mean = (1 - 0.9**2) * model.running_mean
    torch.testing.assert_close(averaged.running_mean, mean)
    assert int(averaged.num_batches_tracked) == 1
    assert int(averaged.count) == 29


# ---- schedulers


def test_a_plateau_goes_by_the_metric_that_counts_at_epoch_ends(tmp_path):
    workload, kept = small_workload(scheduler=plateau), tmp_path / "kept"
    trial = small_trial(workload, batch_size=8, horizon_steps=20)

    run = run_engine(workload, trial, RunLength(steps=20), checkpoint=kept)

    twin = plateau(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.05))
    for evaluation in run.evaluations:
        if evaluation.step and evaluation.step % 5 == 0:
            twin.step(evaluation.score("validation", "accuracy"))
    stepper = Stepper(workload, trial, torch.device("cpu"))
    load_checkpoint(kept, kept=stepper.kept)
    assert peek(kept).step == 20
    rate = stepper.optimizer.param_groups[0]["lr"]
    assert rate == twin.optimizer.param_groups[0]["lr"] < 0.05
