"""Stepper: what it alone can do: closures, weights of examples, a step of one's own."""

from functools import partial
from typing import Any

import pytest
import torch
from tests.reference.engine_run import run_engine, taken
from tests.reference.small_workloads import (
    accuracy,
    cross_entropy,
    plateau,
    small_trial,
    small_workload,
    token_workload,
)
from tests.reference.textbook_loop import beside_the_textbook
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from batchlab.errors import BatchlabError, WorkloadError
from batchlab.records.batch_plan import Stage
from batchlab.records.run import RunLength
from batchlab.records.trial import Status


@pytest.mark.parametrize("clip_norm", [None, 0.01])
def test_an_optimizer_that_asks_for_the_loss_again_gets_it(clip_norm):
    """The gradient of each closure is clipped."""
    workload = small_workload(
        optimizer=lambda parameters, rate: torch.optim.LBFGS(parameters, lr=rate),
        clip_norm=clip_norm,
    )
    trial = small_trial(workload, batch_size=40, learning_rate=0.5)

    _, twin = beside_the_textbook(workload, trial, epochs=4, clip_norm=clip_norm)

    assert clip_norm or twin.losses[-1] < 0.5 * twin.losses[0]


@pytest.mark.parametrize("micro_batch_size", [1, 2, 5, 8, 12])
def test_tokens_and_not_sequences_weigh(micro_batch_size):
    workload = token_workload(12)
    trial = small_trial(workload, batch_size=12, micro_batch_size=micro_batch_size)
    torch.manual_seed(0)
    model = workload.model()
    whole = workload.loss(model, workload.train)
    expected = torch.autograd.grad(whole, list(model.parameters()))

    stepper, losses = taken(workload, trial, 1)

    gradients = tuple(parameter.grad for parameter in stepper.model.parameters())
    torch.testing.assert_close(gradients, expected, rtol=1e-14, atol=1e-14)
    assert losses == pytest.approx([whole.item()], rel=1e-13)


# ---- a step of one's own


def clipping_step(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
    optimizer.zero_grad()
    loss = cross_entropy(model, batch)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.3)
    optimizer.step()
    return loss


def test_it_takes_the_textbooks_steps_bit_for_bit():
    workload = small_workload(step=clipping_step)

    beside_the_textbook(workload, small_trial(workload, batch_size=8), epochs=2, clip_norm=0.3)


LOSS = torch.tensor(1.5)


@pytest.mark.parametrize(("returned", "told"), [
    *((LOSS, 1.5), (1.5, 1.5), (LOSS.reshape(1, 1), 1.5), ({"a": LOSS, "b": LOSS + 1}, 1.5)),
    ({"a": LOSS, "loss": LOSS + 1}, 2.5),
    (None, "`step` returned a NoneType;"),
    ({}, "`step` returned a dict;"),
    (torch.zeros(3), "`step` returned a Tensor;"),
    ({"loss": None}, "`step` returned a dict;"),
])  # fmt: skip
def test_what_it_returns_tells_the_loss_and_other_things_are_refused(returned, told):
    workload = small_workload(step=lambda model, optimizer, batch: returned)
    trial = small_trial(workload, batch_size=8)

    if isinstance(told, float):
        assert taken(workload, trial, 2)[1] == [told] * 2
        return
    with pytest.raises(WorkloadError, match=f"^workload 'small': {told}"):
        taken(workload, trial, 1)


def two_optimizers(named_parameters: Any, learning_rate: float) -> dict[str, Any]:
    parameters = [parameter for _, parameter in named_parameters]
    return {
        "first": torch.optim.SGD(parameters[:2], lr=learning_rate),
        "last": torch.optim.Adam(parameters[2:], lr=3 * learning_rate),
    }


def two_schedulers(optimizers: dict[str, Any], n_steps: int) -> list[Any]:
    exponential = torch.optim.lr_scheduler.ExponentialLR
    return [exponential(optimizers["first"], 0.5), exponential(optimizers["last"], 0.1)]


@pytest.mark.parametrize(("fields", "first", "last"), [
    ({"schedule": lambda done: 1 - done}, (1.0, 0.75, 0.5, 0.25), (1.0, 0.75, 0.5, 0.25)),
    ({"scheduler": two_schedulers}, (1.0, 0.5, 0.25, 0.125), (1.0, 0.1, 0.01, 0.001)),
])  # fmt: skip
def test_the_rates_of_all_its_optimizers_move(fields, first, last):
    rates: list[float] = []

    def step(model: nn.Module, optimizers: Any, batch: Any) -> Tensor:
        for optimizer in optimizers.values():
            optimizer.step()
            rates.append(optimizer.param_groups[0]["lr"])
        return torch.zeros(())

    workload = small_workload(optimizer=two_optimizers, step=step, **fields)

    taken(workload, small_trial(workload, batch_size=8, learning_rate=0.1, horizon_steps=4), 4)

    assert rates[::2] == pytest.approx([0.1 * factor for factor in first])
    assert rates[1::2] == pytest.approx([0.3 * factor for factor in last])


# ---- what it refuses


OF_HALF = partial(nn.Linear, 2, 2, dtype=torch.float16)
OF_BFLOAT16 = partial(nn.Linear, 2, 2, dtype=torch.bfloat16)
GROWING = {"stages": (Stage(from_samples=16, batch_size=16, rate_factor=0.5),)}
IN_PIECES = {"micro_batch_size": 4}
REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"scheduler": ReduceLROnPlateau}, {}, "better higher; give it mode='max'"),
    ({"scheduler": lambda optimizer: 0.5}, {}, "`scheduler` returned a float; expected a sched"),
    ({"scheduler": plateau}, GROWING, "its `scheduler` sets the rate"),
    ({"model": OF_HALF, "ema": 0.9}, {}, "'weight' has 16 bits"),
    ({"model": OF_BFLOAT16, "ema": 0.9}, {}, "'weight' has 16 bits"),
    ({"optimizer": torch.optim.LBFGS, "precision": "fp16"}, {}, "LBFGS asks for the loss several"),
    ({"step": clipping_step}, IN_PIECES, "takes whole batches; let it take a tuple"),
    ({"weight": lambda batch: 0.0}, IN_PIECES, "of all 2 micro-batches of a step is 0"),
]


@pytest.mark.parametrize(("fields", "trial", "message"), REFUSED)
def test_what_takes_no_step_is_refused(fields, trial, message):
    workload = small_workload(**fields)

    with pytest.raises(BatchlabError, match=message):
        taken(workload, small_trial(workload, batch_size=8, horizon_steps=20, **trial), 1)


# ---- without a loss


@pytest.mark.parametrize("status", [Status.OK, Status.NAN])
def test_the_metric_that_counts_is_evaluated_and_ends_the_run_if_it_is_not_finite(status):
    n_steps = 0

    def soft(model: nn.Module, batch: Any) -> Tensor:
        is_lost = n_steps >= 3 and status is Status.NAN
        return torch.tensor(float("nan")) if is_lost else accuracy(model, batch)

    def step(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
        nonlocal n_steps
        n_steps += 1
        return clipping_step(model, optimizer, batch)

    workload = small_workload(loss=None, step=step, metrics={"accuracy": soft})

    run = run_engine(workload, small_trial(workload, batch_size=8), RunLength(steps=9))

    assert run.outcome.status is status
    assert status is Status.OK or run.outcome.reason.code == "metric_not_finite"
    assert {score.metric for each in run.evaluations for score in each.scores} == {"accuracy"}
    assert run.evaluations[-1].batch_loss is not None
