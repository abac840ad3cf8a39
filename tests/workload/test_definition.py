"""A workload refuses at once what could only fail later, and says what would be right."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.reference.handed_over import Net, loss, refused, workload
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from batchlab.errors import UsageError, WorkloadError
from batchlab.records.trial import Target
from batchlab.workload.definition import Metric, check_has_loss


class FocalLoss(nn.Module):
    def forward(self, outputs: Any, labels: Any) -> Any:
        return F.cross_entropy(outputs, labels)


ADAM = torch.optim.Adam(nn.Linear(1, 1).parameters())


def step(model: Any, optimizer: Any, batch: Any) -> Any:
    return None


def accuracy(model: Any, batch: Any) -> Any:
    return None


def by_step(optimizer: Any) -> Any:
    return None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"metrics": ["accuracy"]}, "metrics is ['accuracy']"),
        ({"metrics": {"accuracy": 0.9}}, "metric 'accuracy' is 0.9"),
        (
            {"metrics": {"specificity": accuracy}},
            "metric 'specificity': its name does not tell whether it goes up or down; give",
        ),
        ({"target": ("loss", 0.9)}, "target is ('loss', 0.9)"),
        ({"epochs": 0}, "epochs is 0"),
        ({"workers": -1}, "workers is -1"),
        ({"augment": "flip"}, "augment is 'flip'"),
        ({"schedule": 0.5}, "schedule is 0.5"),
        (
            {"learning_rate": None, "optimizer": torch.optim.Adam},
            "it has an optimizer of its own and no learning rate; give the rate that you train "
            "with, such as learning_rate=1e-3, PyTorch's own for Adam",
        ),
        # Other ways to train, which go together or do not.
        ({"step": 3}, "step is 3"),
        ({"accumulates": True}, "accumulates=True without a `step`"),
        ({"accumulates": 1, "step": step}, "accumulates is 1"),
        ({"loss": None}, "it has no loss"),
        ({"loss": None, "step": step}, "it has a `step` and neither a loss nor metrics"),
        ({"step": step, "clip_norm": 1.0}, "clip_norm beside a `step`"),
        ({"clip_norm": float("nan")}, "clip_norm is nan"),
        ({"ema": 1.0}, "ema is 1.0"),
        ({"patience_epochs": 0}, "patience_epochs is 0"),
        ({"scheduler": 0.5}, "scheduler is a float"),
        ({"scheduler_every": "batch"}, "scheduler_every is 'batch'"),
        ({"scheduler_every": "step"}, "scheduler_every='step' without a scheduler"),
        ({"scheduler": by_step, "schedule": abs}, "it has a schedule"),
        (
            {"scheduler": by_step, "scheduler_every": "step"},
            "its scheduler goes on with every step and does not take the run's length",
        ),
        # What is made already.
        ({"model": Net()}, "model is a Net that is made already"),
        ({"model": "net"}, "model is 'net'"),
        ({"model": torch.zeros(4, 30)}, "model is a Tensor"),
        ({"loss": nn.CrossEntropyLoss()}, "loss is a CrossEntropyLoss"),
        ({"loss": nn.CrossEntropyLoss}, "loss is the class CrossEntropyLoss"),
        ({"loss": F.cross_entropy}, "loss is cross_entropy"),
        ({"loss": "mean"}, "loss is 'mean'"),
        ({"optimizer": ADAM}, "optimizer is an Adam that is made already"),
        ({"optimizer": "adam"}, "optimizer is 'adam'"),
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(value),
)
def test_what_cannot_be_is_refused_with_what_can(fields, message):
    assert refused(**fields).startswith(f"workload 'mine': {message}")


def test_a_name_and_a_direction_are_needed():
    assert refused(name=None) == 'name is None; expected a text, such as name="mine"'
    with pytest.raises(WorkloadError, match="better='up'"):
        Metric(sum=accuracy, better="up")


def test_what_nobody_gave_is_the_usual():
    data = TensorDataset(torch.zeros(20, 2), torch.zeros(20).long())
    given = workload(batch_size=64)
    usual = workload(batch_size=None, learning_rate=None)
    of_loader = workload(batch_size=None, train=DataLoader(data, batch_size=64))

    assert (usual.learning_rate, usual.batch_size, of_loader.batch_size) == (0.01, 64, 64)
    assert [each.is_usual for each in (usual, given, of_loader)] == [True, False, False]
    assert replace(usual, epochs=3).is_usual
    assert not replace(usual, batch_size=128).is_usual


def test_without_a_loss_the_metrics_are_all_there_is_and_what_needs_it_says_so():
    fields = {"loss": None, "step": step, "metrics": {"accuracy": accuracy}}
    target = Target(metric="loss", value=1.0, better="lower")

    made = workload(**fields)

    assert made.metric_names == ("accuracy",)
    assert not made.takes_micro_batches
    assert refused(**fields, target=target) == (
        "workload 'mine' has no metric 'loss'; it has accuracy"
    )
    with pytest.raises(UsageError, match=r"^workload 'mine': the noise of .* needs its loss, and"):
        check_has_loss(made, "the noise of the gradient")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("loss", loss) for loss in (nn.CrossEntropyLoss(), FocalLoss, F.cross_entropy)),
        ("optimizer", ADAM),
    ],
)
def test_the_line_that_is_shown_is_taken(field, value):
    line = re.search(rf"{field}=(lambda .*)", refused(**{field: value}))
    written = eval(line[1], {"torch": torch, "FocalLoss": FocalLoss})  # as somebody would type it

    made = workload(**{field: written})

    optimizer = made.optimizer and made.optimizer(Net().parameters(), 0.5)
    assert made.loss(Net(), made.train).ndim == 0
    assert optimizer is None or optimizer.param_groups[0]["lr"] == 0.5


def test_a_module_of_the_users_own_is_a_loss_if_it_takes_model_and_batch():
    class Own(nn.Module):
        def forward(self, model: nn.Module, batch: Any) -> Any:
            return loss(model, batch)

    assert workload(loss=Own()).loss(Net(), workload().train) > 0
