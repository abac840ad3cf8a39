"""What takes minutes: kills, large outputs, large studies, long advices."""

import csv
import random
import sys
import time

import pytest
from tests.reference.killed_commands import assert_no_kill_leaves_a_process
from tests.reference.large_output import assert_a_large_output_is_kept_small

import batchlab
from batchlab.app.sweep import sweep
from batchlab.report.page import csv_files
from batchlab.report.sweep_page import html_page, sweep_files, text_report

pytestmark = pytest.mark.nightly


def test_two_hundred_kills_of_trial_and_batchlab_at_random_moments_leave_no_process(tmp_path):
    assert_no_kill_leaves_a_process(tmp_path, seed=random.randrange(10**6), kills=200)


def test_a_gigabyte_of_output_of_a_command_keeps_a_few_megabytes(tmp_path):
    assert_a_large_output_is_kept_small(tmp_path, n_bytes=1_000_000_000)


BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, "full")
LEARNING_RATES = tuple(0.002 * 2**octave for octave in range(8))
SEEDS = 5
LARGEST_PAGE_BYTES = 25_000_000


def test_a_sweep_of_360_trials_has_all_of_them_in_its_report_and_its_files(tmp_path):
    study = sweep(
        "least-squares",
        batch_sizes=BATCH_SIZES,
        learning_rates=LEARNING_RATES,
        seeds=SEEDS,
        epochs=3,
        store=tmp_path / "large.db",
    )
    n_trials = len(BATCH_SIZES) * len(LEARNING_RATES) * SEEDS
    page = tmp_path / "large.html"

    started_s = time.monotonic()
    page.write_text(html_page(study))
    files = csv_files(sweep_files(study))
    print(f"written in {time.monotonic() - started_s:.1f} s, page {page.stat().st_size} bytes")

    assert len(study.records) == n_trials
    assert page.stat().st_size < LARGEST_PAGE_BYTES
    assert str(n_trials) in text_report(study)
    trials = {row["trial_id"] for row in csv.DictReader(files["trials"].decode().splitlines())}
    assert trials == {record.trial.trial_id for record in study.records}


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


def test_a_script_that_grows_is_compared_by_the_epochs_that_it_tells(tmp_path):
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
