import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from tests.app.conftest import timed_at_once
from tests.cli.conftest import Done
from tests.reference.killed_studies import done_here, observed, records_of, started, wait_until
from tests.reference.user_file import write_user_file

from batchlab.app.subjects import WorkloadSubject
from batchlab.measure.measurements import on_request
from batchlab.records.trial import Status
from batchlab.store.store import Store

pytestmark = pytest.mark.slow

EPOCH = ["--epochs", "1"]


@pytest.fixture
def do(do: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Step times are not measured in this process."""
    monkeypatch.setattr(WorkloadSubject, "timed", timed_at_once)
    return do


def test_trials_that_ended_in_an_error_end_the_command_in_one_after_its_results(do, tmp_path):
    write_user_file(
        # Of a batch that the check does not try: it would refuse the workload.
        tmp_path,
        fields="loss=lambda m, b: cross_entropy(m, b) "
        "if len(b[0]) != 20 or not m.training else 1 / 0",
    )

    grid = ("--batch-sizes", "20", "--learning-rates", "0.3")
    done = do("sweep", "mine.py:workload", *grid, *EPOCH, "--json")

    assert done.code == 1
    trial = json.loads(done.out)["trials"][0]
    assert trial["status"] == "error"
    assert trial["learning_rate"] == 0.3
    assert "1 of 1 trials ended in an error, first ZeroDivisionError" in done.err.splitlines()[-1]


def test_each_seed_draws_its_validation_the_same_for_all_batch_sizes(do, tmp_path):
    mean = 'metrics={"error": lambda model, batch: batch[0].double().mean()}'
    write_user_file(tmp_path, fields=f'validation="split", {mean}')

    grid = ("--batch-sizes", "20,45", "--learning-rates", "0.1", "--seeds", "2", "--quiet")
    done = do("sweep", "mine.py:workload", *grid, *EPOCH, "--json")

    assert done.err == ""
    validated_on: dict[int, set[float]] = {0: set(), 1: set()}
    for trial in done.document["trials"]:
        # Summed in other batches, it differs in its last digits.
        validated_on[trial["seed"]].add(round(trial["final"]["validation"]["error"], 9))
    assert [len(found) for found in validated_on.values()] == [1, 1]
    assert validated_on[0] != validated_on[1]


def test_json_is_the_only_thing_on_the_stdout_of_a_process(tmp_path):
    write_user_file(
        tmp_path,
        before="print('loading')",
        fields="model=lambda: print('building', flush=True) or nn.Linear(4, 3)",
    )

    asked = ("sweep", "mine.py:workload", "--batch-sizes", "20", *EPOCH, "--json")
    out, err = started(tmp_path, *asked).communicate(timeout=120)

    assert Done(0, out, err).document
    assert "loading" in err
    assert "building" in err


@pytest.mark.parametrize(
    "interrupt",
    [
        # As Ctrl-C reaches all processes.
        pytest.param(lambda process: os.killpg(process.pid, signal.SIGINT), id="Ctrl-C"),
        pytest.param(
            lambda process: process.send_signal(signal.SIGTERM),
            id="kill",
            marks=pytest.mark.nightly,
        ),
    ],
)
def test_an_interrupted_process_stores_everything_and_says_how_to_go_on(interrupt, tmp_path):
    write_user_file(tmp_path)
    store = tmp_path / "batchlab.db"
    request = ["sweep", "mine.py:workload", "--batch-sizes", "1,2"]
    process = started(tmp_path, *request, "--epochs", "100000")
    wait_until(lambda: len(observed(records_of(store))) >= 20, process)

    interrupt(process)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 130, err
    assert out == ""
    last_line = err.splitlines()[-1]
    assert last_line.startswith("interrupted; everything so far is stored. To go on: batchlab ")
    assert last_line.endswith(f"batchlab {' '.join(request)} --epochs 100000")
    assert "Traceback" not in err
    before = records_of(store)
    assert None in [record.status for record in before]
    done_here(tmp_path, *request, "--steps", "500")
    after = records_of(store)
    assert any(record.resumed_from_steps for record in after), before
    assert all(record.steps >= 500 for record in after)


def test_a_budget_is_a_ceiling_on_the_whole_command(tmp_path):
    write_user_file(tmp_path)
    arguments = [
        *("sweep", "mine.py:workload", "--batch-sizes", "1,2", "--epochs", "1000000"),
        *("--target", "loss=0", "--report", "page.html"),
    ]

    started_s = time.monotonic()
    process = started(tmp_path, *arguments, "--budget", "15s")
    _, err = process.communicate(timeout=120)
    spent_s = time.monotonic() - started_s

    assert process.returncode == 0, err
    assert spent_s < 16
    assert {each.status for each in records_of(tmp_path / "batchlab.db")} == {Status.TIMEOUT}
    assert (tmp_path / "page.html").exists()


def test_what_is_asked_for_is_measured_stored_and_on_the_page(do, tmp_path):
    write_user_file(tmp_path)
    asked = ["--batch-sizes", "20,50", "--epochs", "2", "--measure", "sharpness"]
    asked += ["--measure", "noise_scale", "--store", "lab.db", "--report", "page.html"]

    done = do("sweep", "mine.py:workload", *asked)

    assert [name for name in on_request() if name not in do("sweep", "--help").out] == []
    assert done.code == 0, done.err
    assert "The store: lab.db\nThe report: page.html\n" in done.out
    with Store.existing("lab.db") as store:
        study = store.study()
    assert study.command.startswith("batchlab sweep mine.py:workload --batch-sizes 20,50 --epochs")
    for record in study.records:
        sharp = {each.samples: dict(each.measured).get("sharpness") for each in record.evaluations}
        assert [at for at, value in sharp.items() if value is not None] == [0, 400]
    assert "sharpness, at the end" in Path("page.html").read_text()
