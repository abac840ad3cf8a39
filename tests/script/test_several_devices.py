"""A command that its launcher starts on several devices: the batch size is that of all of them."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.reference.made_up import made_up_trial

from batchlab import TrainingCommand, sweep
from batchlab.errors import BatchSizeError, OtherBatchSizeError, UsageError
from batchlab.script.command import trial_values

SCRIPT = """
import argparse, torch, torch.distributed as dist
parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int)  # of one process, as in most scripts
parser.add_argument("--lr", type=float)
parser.add_argument("--epochs", type=int)
parser.add_argument("--seed", type=int)
given = parser.parse_args()
dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
torch.manual_seed(given.seed)
x = torch.randn(512, 4, generator=torch.Generator().manual_seed(1))
y = (x[:, 0] > 0).long()
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=given.lr)
loss_of, step = torch.nn.functional.cross_entropy, 0
for epoch in range(given.epochs):
    order = torch.randperm(512, generator=torch.Generator().manual_seed(given.seed + epoch))
    for part in order[rank::world].split(given.batch_size):
        optimizer.zero_grad()
        loss = loss_of(model(x[part]), y[part])
        loss.backward()
        optimizer.step()
        step += 1
        if rank == 0:
            print(f"epoch {epoch + 1} step {step} loss {loss.item():.6f}", flush=True)
    if rank == 0:
        value = loss_of(model.module(x), y).item()
        print(f"epoch {epoch + 1} step {step} val_loss {value:.6f}", flush=True)
dist.destroy_process_group()
"""


def command(folder: Path, size: str = "{micro_batch_size}", **named: Any) -> TrainingCommand:
    (folder / "train.py").write_text(SCRIPT)
    torchrun = shutil.which("torchrun", path=str(Path(sys.executable).parent))
    assert torchrun is not None
    arguments = (
        *(torchrun, "--standalone", "--nproc_per_node", "{world_size}", "train.py"),
        *("--batch-size", size, "--lr", "{learning_rate}", "--epochs", "{epochs}"),
        *("--seed", "{seed}"),
    )
    known: dict[str, Any] = {"metric": "val_loss", "examples": 512, "learning_rate": 0.1}
    return TrainingCommand(
        arguments=arguments, folder=folder, **(known | {"devices": 2, "batch_size": 64} | named)
    )


@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize("micro", [16, 64])
def test_what_a_script_is_given_makes_the_batch_on_all_its_devices(
    world_size: int, micro: int
) -> None:
    trial = replace(
        made_up_trial(), batch_size=64, micro_batch_size=micro, world_size=world_size, n_train=512
    )
    given = trial_values(trial, last_step=8)
    n, accumulated = given["micro_batch_size"], given["accumulation_steps"]

    assert given["world_size"] == world_size
    assert n * accumulated * world_size == given["batch_size"] == 64


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"arguments": ("t", "{batch_size}"), "devices": 2}, "the command has no {world_size}"),
        ({"arguments": ("t", "{batch_size}"), "devices": 0}, "devices=0: expected a whole number"),
        ({"arguments": ("t", "{batch_size}", "{nproc_per_node}")}, "did you mean {world_size}"),
        (
            {"arguments": ("t", "{micro_batch_size}")},
            "without {accumulation_steps} or {world_size}",
        ),
    ],
)
def test_devices_that_would_not_act_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        TrainingCommand(metric="val_loss", **given)

    assert said in str(refused.value)


def test_a_batch_that_devices_cannot_share_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BatchSizeError, match="batch size 63 on 2 devices: each takes the same"):
        sweep("mnist-softmax", batch_sizes=(63,), devices=2, store=tmp_path / "lab.db")


@pytest.mark.nightly
def test_two_processes_under_torchrun_train_with_the_batch_size_that_is_asked_for(
    tmp_path: Path,
) -> None:
    """Summed over its processes; a script that takes it for each is found out."""
    of_two = sweep(command(tmp_path), batch_sizes=(64,), epochs=3, store=tmp_path / "two.db")
    of_one = sweep(
        command(tmp_path, devices=1), batch_sizes=(64,), epochs=3, store=tmp_path / "one.db"
    )
    with pytest.raises(OtherBatchSizeError, match="does not train with the batch size 64"):
        sweep(
            command(tmp_path, size="{batch_size}"), batch_sizes=(64,), store=tmp_path / "wrong.db"
        )
    (two,), (one,) = of_two.records, of_one.records

    assert (two.steps, one.steps) == (24, 24)
    assert two.trial.trial_id != one.trial.trial_id
    # Another part of the same batches for each, so the same mean of their gradients.
    assert two.final("validation", "val_loss") == pytest.approx(
        one.final("validation", "val_loss"), abs=2e-6
    )
