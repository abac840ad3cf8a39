import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.reference.made_up import made_up_timing
from tests.reference.random_streams import DRAWS_FROM_EACH, random_streams
from tests.reference.tiny_workload import tiny
from tests.reference.told import Told
from tests.reference.user_file import write_user_file
from torch import nn
from torch.utils.data import TensorDataset

import batchlab
from batchlab import machine
from batchlab.app.subjects import WorkloadSubject
from batchlab.belief.evidence import Evidence
from batchlab.errors import BudgetError, WorkloadError
from batchlab.machine import place_here
from batchlab.plans.scaling import scaling_rule
from batchlab.processes.children import Ended
from batchlab.records.study import AdamSettings, Study, place_of
from batchlab.records.trial import Status, TrialRecord
from batchlab.report.sweep_page import sweep_document
from batchlab.words.reasons import reason_text


def run(lab: Path, **request: Any) -> Study:
    base: dict[str, Any] = {"batch_sizes": (20, 50), "epochs": 2, "store": lab}
    base |= request
    return batchlab.sweep(base.pop("workload", None) or tiny(), **base)


def curves(record: TrialRecord) -> list[Any]:
    """What a trial saw, without its clocks."""
    return [(e.step, e.samples, e.batch_loss, e.measured, e.scores) for e in record.evaluations]


pytestmark = pytest.mark.usefixtures("step_times_at_once")


def test_a_sweep_trains_every_batch_size_rate_and_seed_once_in_a_fixed_order(lab):
    told = Told()

    study = run(
        lab,
        batch_sizes=(50, "full", 50, 100),
        learning_rates=(0.1, 0.2),
        seeds=2,
        listener=told,
    )

    cells = [(r.trial.seed, r.trial.learning_rate, r.trial.batch_size) for r in study.records]
    assert cells == list(itertools.product((0, 1), (0.1, 0.2), (50, 100)))
    assert {(record.status, record.epochs) for record in study.records} == {(Status.OK, 2.0)}
    environment = dict(study.environment)
    assert environment["torch"] == torch.__version__
    assert {"batchlab", "numpy", "python", "system", "processor", "cores"} <= set(environment)
    assert study.command.startswith("batchlab.sweep(")
    assert study.spent_s > 0
    assert told.fractions == sorted(told.fractions)
    assert told.fractions[-1] == pytest.approx(1.0)
    timing, training = "timing each batch size with nothing else running", "training 8 trials"
    assert told.begun == [("sweep", "tiny", [timing, training])]
    assert told.phases == ["checking the workload", timing, training]
    # Trials train side by side, so any of them may end last.
    assert {text for text in told.texts if text.endswith(": 100%")} == {
        f"batch size {size}, learning rate {rate:g}, seed {seed}: 100%"
        for seed, rate, size in cells
    }


def test_sde_adam_trains_as_adam_with_the_settings_that_it_moves_to(lab):
    moved = scaling_rule("sde-adam").moved(AdamSettings(), 80 / 20)
    assert moved

    def trained(*, optimizer: Any = torch.optim.Adam, **given: Any) -> Study:
        return run(lab, workload=tiny(optimizer=optimizer), batch_sizes=(80,), **given)

    by_rule = trained(scaling_rule="sde-adam")
    by_hand = trained(
        optimizer=partial(torch.optim.Adam, betas=moved.betas, eps=moved.eps), learning_rates=(0.2,)
    )
    other_betas = trained(learning_rates=(0.2,))

    assert moved.betas == pytest.approx((0.6, 0.996))
    assert by_rule.workload.adam == AdamSettings()  # as the store gave it back
    assert curves(by_rule.records[0]) == curves(by_hand.records[0])
    assert curves(by_rule.records[0]) != curves(other_betas.records[0])


def test_a_file_gives_the_same_curves_as_the_workload_that_it_makes(lab, tmp_path):
    reference = write_user_file(tmp_path, before=DRAWS_FROM_EACH)
    before = random_streams()
    by_name = run(lab, workload=reference, batch_sizes=(20,))
    assert random_streams() == before  # though the file draws when it is loaded
    made = sys.modules["mine"].workload()

    by_value = run(tmp_path / "other.db", workload=made, batch_sizes=(20,))

    assert curves(by_name.records[0]) == curves(by_value.records[0])


def test_a_trial_ends_at_its_target_which_counts_for_finished_ones_too(lab, children):
    ended = run(lab, batch_sizes=(20,), epochs=100, target=("accuracy", 0.5)).records[0]
    assert ended.status is Status.TARGET_REACHED
    assert ended.crossing(ended.target) is not None
    assert ended.epochs < 100
    lab = lab.with_name("other.db")
    run(lab, batch_sizes=(20,), epochs=20)
    children.clear()

    easy = run(lab, batch_sizes=(20,), epochs=20, target=("accuracy", 0.4))
    hard = run(lab, batch_sizes=(20,), epochs=20, target=("accuracy", 0.6))
    run(lab, batch_sizes=(20,), epochs=20, target=("accuracy", 0.0))  # met by the untrained model

    assert children == ["see_model"] * 3
    documents = [sweep_document(study, store=lab, report=None) for study in (easy, hard)]
    steps = [int(json.loads(each)["trials"][0]["steps_to_target"]) for each in documents]
    assert steps[0] <= steps[1]
    for study, value, step in zip((easy, hard), (0.4, 0.6), steps, strict=True):
        curve = list(study.records[0].curve("validation", "accuracy"))
        to_stay = [accuracy for e, accuracy in curve if step <= e.step <= 1.1 * step]
        assert min(to_stay) >= value


def test_a_sweep_looks_where_its_course_is_drawn_and_near_a_level_where_one_is_asked_for(lab):
    drawn = run(lab, batch_sizes=(1,), epochs=4).records[0]
    asked = run(lab, batch_sizes=(1,), epochs=4, target=("accuracy", 1.0), learning_rates=(0.02,))

    n_train = drawn.trial.n_train
    epochs = [each.samples / n_train for each in drawn.evaluations]
    assert len([at for at in epochs if 0 < at < 1]) == 6
    assert len([at for at in epochs if 1 < at < 2]) == 1
    assert [at for at in epochs if at == 0 or at >= 2] == [0, 2, 3, 4]
    whole = [at for at, each in zip(epochs, drawn.evaluations, strict=True) if each.has_all_splits]
    assert whole == [0, 1, 2, 3, 4]
    watched = [each.samples / n_train for each in asked.records[0].evaluations]
    assert len([at for at in watched if 0 < at <= 1]) >= 50


@pytest.mark.slow
def test_step_times_of_another_machine_are_not_taken_for_those_of_this_one(lab, monkeypatch):
    timed: list[int] = []

    def measured(self: Any, trial: batchlab.Trial, *, timeout_s: float) -> Ended:
        timed.append(trial.batch_size)
        made_up = made_up_timing(trial.batch_size, step_s=1e-4, workload_id=trial.workload_id)
        return Ended(value=replace(made_up, place=place_here("cpu")))

    monkeypatch.setattr(WorkloadSubject, "timed", measured)
    first = batchlab.sweep(tiny(), batch_sizes=(8,), epochs=1, store=lab)
    batchlab.sweep(tiny(), batch_sizes=(8,), epochs=2, store=lab)
    here = dict(machine.environment())
    monkeypatch.setattr(machine, "_processor", lambda: "another one")
    there = batchlab.sweep(tiny(), batch_sizes=(8,), epochs=3, store=lab)

    assert timed == [8, 8]  # here once for both sweeps, and there
    assert [timing.place for timing in there.timings] == [f"another one, {here['cores']} cores"]
    # The training itself ran here, in a process that knows nothing of the pretence.
    assert [record.place for record in (*first.records, *there.records)] == [
        place_of(here.items(), "cpu")
    ] * 2


@pytest.mark.slow
def test_a_child_may_start_workers_for_a_dataset(lab):
    data = TensorDataset(*tiny().train)

    (record,) = run(lab, workload=tiny(train=data, workers=2), batch_sizes=(20,)).records

    assert record.status is Status.OK


@pytest.mark.slow
def test_a_batch_size_on_the_way_of_a_plan_is_timed_too(lab):
    study = run(lab, plans=("grow",), batch_sizes=(5, 50), epochs=20)

    (grown,) = study.records
    assert grown.status is Status.OK
    assert {timing.batch_size for timing in study.timings} == {5, 20, 50}
    assert study.train_s(grown.trial, grown.steps) is not None


def test_a_wider_sweep_trains_only_what_is_new(lab, children):
    first = run(lab)
    children.clear()
    again = run(lab, margin=0.3)  # another margin is kept, and trains nothing

    assert children == ["see_model"]
    assert again.records == first.records
    assert (first.margin, again.margin) == (None, 0.3)
    assert Evidence.of(again).margin == 0.3 != Evidence.of(first).margin

    study = run(lab, batch_sizes=(20, 50, 100), seeds=2, epochs=1)

    assert children.count("_train_in_child") == 4
    assert "check_workload" not in children
    assert len(study.records) == 6


@pytest.mark.slow
def test_a_budget_is_a_ceiling_and_the_next_sweep_goes_on_from_there(lab):
    request: dict[str, Any] = {"batch_sizes": (1, 2), "epochs": 10**6, "target": ("loss", 0.0)}
    run(lab, batch_sizes=(1, 2), steps=1, epochs=None)  # starts the server that children come from
    told = Told()

    started_s = time.monotonic()
    first = run(lab, **request, budget=2.5, listener=told)

    assert time.monotonic() - started_s < 2.7
    assert {record.status for record in first.records} == {Status.TIMEOUT}
    assert told.warnings[-1].startswith("2 of 2 trials are not finished; the same command goes on")
    second = run(lab, **request, budget=2.5)
    for before, after in zip(first.records, second.records, strict=True):
        assert after.resumed_from_steps[-1] > 0
        assert after.steps > before.steps


def test_a_budget_that_ends_before_the_steps_are_timed_leaves_no_store(lab):
    with pytest.raises(BudgetError, match=r"budget 0\.01 s: it ended while checking the workload"):
        run(lab, budget=0.01)
    assert not lab.exists()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        pytest.param(
            {"model": lambda: os._exit(3)},
            "cannot be trained: the process ended without a",
            marks=pytest.mark.slow,
        ),
        (
            {"loss": partial(lambda lock, model, batch: None, threading.Lock())},
            r"cannot be handed to child processes: .*lock.*; make",
        ),
        ({"model": lambda: nn.Linear(7, 3)}, "`loss` of 8 examples raised RuntimeError: mat1"),
    ],
)
def test_a_workload_that_cannot_be_trained_is_refused_and_leaves_no_file(lab, fields, told):
    with pytest.raises(WorkloadError, match=told) as caught:
        run(lab, workload=tiny(**fields))

    assert "\n" not in str(caught.value)
    assert list(lab.parent.iterdir()) == []


def test_a_trial_that_fails_is_kept_with_its_report_and_takes_no_other_with_it(lab):
    def loss(model: nn.Module, batch: Any) -> Any:
        if model.training and len(batch[0]) == 50:
            raise ZeroDivisionError("half way")
        # It couples the examples of a batch too.
        return F.cross_entropy(model(batch[0]), batch[1]) + model(batch[0]).var()

    told = Told()
    study = run(lab, workload=tiny(loss=loss), listener=told)

    fine, failed = study.records
    assert (fine.status, failed.status) == (Status.OK, Status.ERROR)
    assert reason_text(failed.reason) == "ZeroDivisionError: half way"
    assert "in loss" in str(failed.traceback)
    assert "depends on the rest of its batch" in told.warnings[0]
    assert "depends on the rest of its batch" in study.workload.warnings[0]
    assert "batch size 50, learning rate 0.1, seed 0: error (ZeroDivisionError" in told.warnings[1]


def test_a_trial_that_diverges_is_kept_and_not_tried_again(lab, children):
    request: dict[str, Any] = {
        "workload": tiny(loss=lambda m, b: m(b[0]).square().mean()),
        "batch_sizes": (20,),
        "learning_rates": (100.0,),
        "epochs": 50,
    }
    study = run(lab, **request)
    children.clear()

    run(lab, **request)

    assert study.records[0].status in (Status.DIVERGED, Status.NAN)
    assert study.records[0].reason
    assert children == ["see_model"]


SCRIPT = """
import os, sys
import batchlab, torch
from batchlab.app.subjects import WorkloadSubject
from tests.app.conftest import timed_at_once
from tests.reference.tiny_workload import tiny

WorkloadSubject.timed = timed_at_once

def loss(model, batch):
    if model.training:
        with open(sys.argv[2], "a") as log:
            log.write(f"{os.getpid()}\\n")
    return torch.nn.functional.cross_entropy(model(batch[0]), batch[1])

print("the script runs", flush=True)
grid = {"batch_sizes": (1, 2, 4), "seeds": 2, "epochs": 3}
study = batchlab.sweep(tiny(loss=loss), **grid, store=sys.argv[1])
print([record.status.value for record in study.records])
"""


@pytest.mark.slow
def test_two_sweeps_at_once_on_one_store_train_every_step_once(lab):
    log, script = lab.parent / "log", lab.parent / "script.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, str(script), str(lab), str(log)]
    processes = [subprocess.Popen(command, **pipes, env=environment) for _ in range(2)]

    outs = [process.communicate(timeout=120) for process in processes]

    assert [process.returncode for process in processes] == [0, 0], outs
    # Each runs once, without a main guard.
    assert [out.splitlines() for out, _ in outs] == [["the script runs", str(["ok"] * 6)]] * 2
    # A trial takes 75 steps at least; the check of the workload takes a few.
    by_process = Counter(log.read_text().split()).values()
    assert sum(n for n in by_process if n >= 75) == 2 * 3 * (100 + 50 + 25)
    assert sum(n for n in by_process if n < 75) < 50


FULL_DISK = """
import sys
import batchlab, torch
from batchlab.words.reasons import reason_text

width, epochs = map(int, sys.argv[1:])
x = torch.randn(400, 50, generator=torch.Generator().manual_seed(0))
workload = batchlab.Workload(
    name="wide", model=lambda: torch.nn.Linear(50, width), train=(x,), validation=None,
    loss=lambda model, batch: model(batch[0]).square().mean(), learning_rate=1e-4,
)
try:
    study = batchlab.sweep(workload, batch_sizes=(4, 8), epochs=epochs, store="lab.db")
    for record in study.records:
        print("kept:", record.status, reason_text(record.reason))
except batchlab.BatchlabError as error:
    print("refused:", error)
batchlab.Store.existing("lab.db").close()
"""


# Which of a checkpoint and the store meets the full disk first is chance; each says so. A trial
# whose checkpoint finds no room ends in an error that is kept; a store that finds none ends the
# sweep, and what was stored before is kept.
DISK_IS_FULL = (
    r"(refused|kept: error .*): .*"
    r"(the disk is full|checkpoint could not be written .*); free some space"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "epochs"),
    [
        pytest.param(5000, 3, id="large checkpoints"),
        pytest.param(1, 2000, id="many evaluations", marks=pytest.mark.nightly),
    ],
)
def test_a_full_disk_is_told_in_one_line_and_the_store_stays_whole(tmp_path, width, epochs):
    own = ["unshare", "--mount"]
    mount = f"mount -t tmpfs -o size=1m none {tmp_path}"
    if not shutil.which("unshare") or subprocess.run([*own, "sh", "-c", mount]).returncode != 0:
        pytest.skip("no right to mount a small disk here (root has it)")
    script = f'{mount} && cd {tmp_path} && "$@"'
    command = ["sh", "-c", script, "sh", sys.executable, "-c", FULL_DISK, str(width), str(epochs)]

    done = subprocess.run([*own, *command], capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines
    assert all(re.match(DISK_IS_FULL, line) for line in lines), done.stdout
