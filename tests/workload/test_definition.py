"""What a workload may be; what it can't is in the table refused.txt, each with the line that tells.

What the command line and the calls in Python are given as wrong is in cli/wrong_inputs.txt and
wrong_calls.txt.
"""

# ruff: noqa: F401 - the table calls what is imported here
from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
import torch.nn.functional as F
from tests.reference.handed_over import Net, loss, workload
from torch import nn
from torch.utils import data

from batchlab.errors import BatchlabError
from batchlab.records.trial import Target
from batchlab.workload.builtin import least_squares, mnist_cnn, mnist_mlp, mnist_softmax, moby_dick
from batchlab.workload.data import Collated
from batchlab.workload.definition import Metric, check_has_loss
from batchlab.workload.ghost import ghost_batch_norm
from batchlab.workload.loading import as_type_of, live_workload
from batchlab.workload.pieces import NamedOptimizer

TABLE = Path(__file__).with_name("refused.txt")
ROWS = re.findall(r"^>>> (.+)\n(.+)$", TABLE.read_text("utf-8"), re.M)
assert TABLE.read_text("utf-8").count(">>> ") == len(ROWS) > 100


class FocalLoss(nn.Module):
    def forward(self, outputs: Any, labels: Any) -> Any:
        return F.cross_entropy(outputs, labels)


def loaded(train: Any, **fields: Any) -> Any:
    return live_workload(workload(train=train, **fields), {})


ADAM = torch.optim.Adam(nn.Linear(1, 1).parameters())
ROWS_OF_3 = np.arange(60, dtype=np.float32).reshape(20, 3)
LABELS = np.arange(20) % 2
X, Y = torch.arange(300.0).reshape(100, 3), torch.arange(100)
DATA = data.TensorDataset(torch.randn(20, 3), torch.zeros(20, dtype=torch.int64))
NUMBERS = range(30)


@pytest.mark.parametrize(("call", "message"), ROWS, ids=[call for call, _ in ROWS])
def test_what_no_workload_can_be_is_told_in_this_line(call, message):
    with pytest.raises(BatchlabError) as caught:
        eval(call, globals())

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("loss", loss) for loss in (nn.CrossEntropyLoss(), FocalLoss, F.cross_entropy)),
        ("optimizer", ADAM),
    ],
)
def test_the_line_that_is_shown_is_taken(field, value):
    with pytest.raises(BatchlabError) as caught:
        workload(**{field: value})
    line = re.search(rf"{field}=(lambda .*)", str(caught.value))

    made = workload(**{field: eval(line[1], globals())})  # as somebody would type it

    optimizer = made.optimizer and made.optimizer(Net().parameters(), 0.5)
    assert made.loss(Net(), made.train).ndim == 0
    assert optimizer is None or optimizer.param_groups[0]["lr"] == 0.5


def test_a_module_of_the_users_own_is_a_loss_if_it_takes_model_and_batch():
    class Own(nn.Module):
        def forward(self, model: nn.Module, batch: Any) -> Any:
            return loss(model, batch)

    assert workload(loss=Own()).loss(Net(), workload().train) > 0


def test_without_a_loss_the_metrics_are_all_there_is():
    made = workload(loss=None, step=abs, metrics={"accuracy": abs})

    assert made.metric_names == ("accuracy",)
    assert not made.takes_micro_batches


def test_what_nobody_gave_is_the_usual():
    given = workload(batch_size=64)
    usual = workload(batch_size=None, learning_rate=None)
    of_loader = workload(batch_size=None, train=data.DataLoader(DATA, batch_size=64))

    assert (usual.learning_rate, usual.batch_size, of_loader.batch_size) == (0.01, 64, 64)
    assert [each.is_usual for each in (usual, given, of_loader)] == [True, False, False]
    assert replace(usual, epochs=3).is_usual
    assert not replace(usual, batch_size=128).is_usual
