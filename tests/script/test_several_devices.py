"""A command that its launcher starts on several devices: the batch size is that of all of them."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.reference.made_up import made_up_study
from tests.reference.made_up_advice import made_up_advice
from tests.reference.made_up_profile import told_profile
from tests.reference.made_up_study import made_up_summary

from batchlab import TrainingCommand, sweep
from batchlab.app.caveats import caveats_of
from batchlab.app.question import asked
from batchlab.app.subjects import CommandSubject
from batchlab.errors import BatchSizeError, OtherBatchSizeError
from batchlab.report.sweep_page import text_report
from batchlab.script.identity import command_identity

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


def subject(name: str, *, devices: int, batch_size: int = 64) -> CommandSubject:
    """A command that was looked at before, so that nothing of it has to run."""
    made = TrainingCommand(
        arguments=("t", "{micro_batch_size}", "{world_size}", "{learning_rate}"),
        metric="val_loss",
        devices=devices,
        batch_size=batch_size,
        learning_rate=0.1,
    )
    found = CommandSubject(asked(name, workload=made, budget=None if name == "sweep" else 600.0))
    found.summary = replace(
        made_up_summary(), n_train=4096, batch_size=batch_size, learning_rate=0.1, start_s=None
    )
    return found


def test_batch_sizes_are_those_that_devices_can_share():
    assert subject("sweep", devices=1).batch_sizes == (16, 64, 256, 1024)
    assert subject("sweep", devices=32).batch_sizes == (64, 256, 1024)
    assert subject("sweep", devices=3, batch_size=48).batch_sizes == (12, 48, 192, 768)
    assert subject("advise", devices=16).candidates == (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
    assert subject("advise", devices=3, batch_size=48).candidates[:4] == (12, 24, 48, 96)
    with pytest.raises(BatchSizeError, match=r"^batch size 63 on 2 devices: each takes an equal"):
        subject("sweep", devices=2).trial(63, 0.1, seed=0)
    with pytest.raises(BatchSizeError, match=r"^your batch size 64 on 3 devices"):
        subject("sweep", devices=3).trial(64, 0.1, seed=0)


def test_trials_and_step_times_know_their_devices_and_a_sweep_says_so(tmp_path):
    study = made_up_study()
    both = [replace(record, trial=replace(record.trial, world_size=2)) for record in study.records]
    on_two, on_one = (
        " ".join(text_report(shown).split())
        for shown in (replace(study, records=tuple(both)), study)
    )

    advised = subject("advise", devices=2)
    here = told_profile(advised.summary, lambda size: 0.01, [64])
    caveats = caveats_of(made_up_advice(), advised, here, options=())
    assert advised.reference.world_size == 2
    assert "devices_share_batches" in {caveat.code for caveat in caveats}
    assert "on 2 devices together at" in on_two
    assert "devices together" not in on_one
    assert command_identity(command(tmp_path)) != command_identity(command(tmp_path, devices=1))


@pytest.mark.nightly
def test_two_processes_under_torchrun_train_with_the_batch_size_that_is_asked_for(tmp_path):
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
    assert two.last("validation", "val_loss") == pytest.approx(
        one.last("validation", "val_loss"), abs=2e-6
    )
