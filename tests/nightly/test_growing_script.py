"""A script whose batch grows is a study and a training at once: it tells epochs, not steps."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import batchlab

SCRIPT = """
import sys, torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
import batchlab
from batchlab import plans

size, rate, epochs = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
torch.manual_seed(int(sys.argv[4]))
x = torch.randn(400, 4)
train, held_out = TensorDataset(x[:300], x[:300].sum(1, keepdim=True)), x[300:]
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=rate)
plan = plans.steps(size, {0.5: 4 * size}, epochs=epochs)
sampler = batchlab.BatchSizeSampler(train, plan, seed=0)
rates = sampler.scheduler(optimizer)
for step, (inputs, wanted) in enumerate(DataLoader(train, batch_sampler=sampler), start=1):
    nn.functional.mse_loss(model(inputs), wanted).backward()
    optimizer.step()
    rates.step()
    optimizer.zero_grad()
    if sampler.plan.position(step)[1] == 0:
        with torch.no_grad():
            loss = nn.functional.mse_loss(model(held_out), held_out.sum(1, keepdim=True))
        batchlab.log(epoch=sampler.plan.epoch_at(step), loss=float(loss))
"""


@pytest.mark.nightly
def test_a_script_that_grows_is_compared_by_the_epochs_that_it_tells(tmp_path: Path) -> None:
    (tmp_path / "grow.py").write_text(SCRIPT)
    words = [sys.executable, "grow.py", "{batch_size}", "{learning_rate}", "{epochs}", "{seed}"]
    command = batchlab.TrainingCommand(
        arguments=words,
        metric="loss",
        examples=300,
        batch_size=10,
        learning_rate=0.01,
        folder=tmp_path,
    )

    study = batchlab.sweep(
        command, batch_sizes=(10, 30), learning_rates=(0.01,), epochs=4, store=tmp_path / "lab.db"
    )

    assert [record.status for record in study.records] == ["ok", "ok"]
    for record in study.records:
        assert [round(record.epoch_of(each), 6) for each in record.evaluations] == [1, 2, 3, 4]
        losses = [value for _, value in record.curve("validation", "loss")]
        assert losses == sorted(losses, reverse=True)
