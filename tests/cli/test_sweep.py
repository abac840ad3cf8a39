from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.reference.user_file import write_user_file

from batchlab.measure.measurements import on_request
from batchlab.store.store import Store

SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "sweep.json"
EPOCH = ["--epochs", "1"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("sweep mine.py:workload --epoch 3", "No such option '--epoch'"),
        ("sweep mine.py:workload --lr 0.1", "'--lr'. Did you mean '--learning-rates'?"),
        ("sweep mine.py:workload --bs 64", "'--bs'. Did you mean '--batch-sizes'?"),
        ("profile mine.py:workload --lr 0.1", "No such option '--lr'."),
        ("sweep mine.py:workload extra", "unexpected extra argument (extra)"),
        ("sweep mine.py:workload --batch-sizes 0", "batch size '0': expected whole numbers"),
        ("sweep mine.py:workload --batch-sizes=-64", "batch size '-64': expected whole numbers"),
        ("sweep mine.py:workload --batch-sizes 6.5", "batch size '6.5': expected whole numbers"),
        ("sweep mine.py:workload --batch-sizes 201", "batch size 201 for workload 'mine'"),
        ("sweep mine.py:workload --learning-rates 0", "learning rate '0': expected finite"),
        ("sweep mine.py:workload --learning-rates=-1", "learning rate '-1': expected finite"),
        ("sweep mine.py:workload --learning-rates nan", "learning rate 'nan': expected finite"),
        ("sweep mine.py:workload --learning-rates inf", "learning rate 'inf': expected finite"),
        ("sweep mine.py:workload --epochs 0", "--epochs 0: expected a whole number of at least 1"),
        ("sweep mine.py:workload --epochs two", "--epochs two: expected a whole number"),
        ("sweep mine.py:workload --steps 0", "--steps 0: expected a whole number of"),
        ("sweep mine.py:workload --seeds 0", "--seeds 0: expected a whole number of"),
        ("sweep mine.py:workload --micro-batch-size 0", "--micro-batch-size 0: expected a whole"),
        (
            "sweep mine.py:workload --batch-sizes 20 --micro-batch-size 21",
            "micro-batch size 21 with batch size 20: expected 1 to 20",
        ),
        ("sweep mine.py:workload --target f1=0.9", "no metric 'f1'; it has accuracy, loss"),
        ("sweep mine.py:workload --target accuracy", "expected METRIC=VALUE"),
        ("sweep mine.py:workload --set momentum", "expected KEY=VALUE"),
        ("sweep mine.py:workload --set momentum=fast", "setting momentum=fast: expected a finite"),
        ("sweep mine.py:workload --set momentun=0.9", "did you mean 'momentum'? it has momentum"),
        (
            "sweep mine.py:workload --set momentum=0.1 --set momentum=0.2",
            "setting 'momentum' was given twice, as 0.1 and as 0.2",
        ),
        ("sweep mine.py:workload --sampling shuffle", "'shuffle' is not one of 'reshuffle'"),
        ("sweep mine.py:workload --scaling-rule cubic", "'cubic' is not one of 'none', 'linear'"),
        ("sweep mine.py:workload --budget 5", "budget '5': expected a time above 0"),
        ("sweep mine.py:workload --device cuda:99", "device 'cuda:99': PyTorch"),
        (
            "sweep mine.py:workload --measure noise",
            "measure 'noise': expected one of noise_scale, gradient_variance, sharpness",
        ),
        ("sweep mine.py:workload --device tpu", "device 'tpu': expected cpu, cuda or cuda:N"),
        ("sweep mine.py:workload --report none/page.html", "there is no folder"),
        ("sweep mine.py:workload --report .", "--report . is a folder"),
        ("sweep mine.py:workload --report lab.db", "--report lab.db is the store"),
        ("sweep mnist-mpl", "unknown workload 'mnist-mpl'; did you mean 'mnist-mlp'?"),
        ("sweep mine.py", "give mine.py:NAME"),
    ],
)
def test_wrong_usage_is_told_in_one_line_and_stores_nothing(
    arguments: str, told: str, refused: Any
) -> None:
    refused(arguments, told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "mine.py: there is no such file"),
        ("x = 1\n", "mine.py has no 'workload'; it holds nothing that could be one"),
        ("def workload(:\n", "mine.py, line 1: invalid syntax"),
        ("raise OSError('no disk')\n", "running it raised OSError: no disk (mine.py, line 1)"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_told_in_one_line(
    text: str | None, told: str, do: Any, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "mine.py").write_text(text)

    done = do("sweep", "mine.py:workload", *EPOCH)

    assert done.code == 1
    assert told in done.err
    assert done.err.count("\n") == 1
    assert not Path("batchlab.db").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ("loss=lambda m, b: 9 * len(b[0]) * cross_entropy(m, b)", "its loss is a sum"),
        ("model=nn.Identity", "no trainable parameters"),
        ("validation=(examples(200, 0)[0], torch.full((200,), 7))", "label 7 at position 0 of val"),
        ("metrics={'f1': accuracy}", "metric 'f1' has no known direction"),
        ("train=(torch.zeros(0, 4), torch.zeros(0).long())", "train holds no examples"),
    ],
)
def test_a_workload_that_cannot_be_trained_is_told_in_one_line(
    fields: str, told: str, do: Any, tmp_path: Path
) -> None:
    write_user_file(tmp_path, fields=fields)

    done = do("sweep", "mine.py:workload", "--batch-sizes", "20", *EPOCH)

    lines = [line for line in done.err.splitlines() if line != "sweep mine: checking the workload"]
    assert done.code == 1
    assert len(lines) == 1
    assert told in lines[0]
    assert not Path("batchlab.db").exists()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.write_bytes(b"something else"), "is not a batchlab store"),
        (lambda path: path.write_bytes(b"SQLite format 3\0"), "is damaged: it ends after 16 bytes"),
    ],
)
def test_a_store_that_is_none_is_told_in_one_line(
    make: Any, told: str, do: Any, tmp_path: Path
) -> None:
    write_user_file(tmp_path)
    make(Path("lab.db"))

    done = do("sweep", "mine.py:workload", *EPOCH, "--store", "lab.db")

    assert done.code == 1
    assert told in done.err
    assert done.err.count("\n") == 1


# Whole sweeps in this process


@pytest.mark.slow
def test_a_sweep_prints_the_answer_and_where_everything_lies(do: Any, tmp_path: Path) -> None:
    write_user_file(tmp_path)

    done = do(
        *("sweep", "mine.py:workload", "--batch-sizes", "20", *EPOCH),
        *("--store", "lab.db", "--report", "page.html"),
    )

    assert done.code == 0, done.err
    assert "The store: lab.db\nThe report: page.html\n" in done.out
    assert Path("page.html").stat().st_size > 0
    with Store.existing("lab.db") as store:
        command = store.study().command
    assert command.startswith("batchlab sweep mine.py:workload --batch-sizes 20 --epochs 1")


@pytest.mark.slow
def test_trials_that_ended_in_an_error_end_the_command_in_one_after_its_results(
    do: Any, tmp_path: Path
) -> None:
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


@pytest.mark.slow
def test_what_the_users_code_prints_stays_out_of_the_json_document(do: Any, tmp_path: Path) -> None:
    write_user_file(
        tmp_path,
        before="print('loading')",
        fields="model=lambda: print('building') or nn.Linear(4, 3)",
    )

    done = do("sweep", "mine.py:workload", "--batch-sizes", "20", *EPOCH, "--json")

    document = json.loads(done.out)
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert document["trials"][0]["status"] == "ok"
    assert document["command_line"].endswith("--json")
    assert "loading" in done.err


# Real processes


def start(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "batchlab.cli.main", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a process group of its own, as a terminal gives to a command
    )


def statuses(store: Path) -> list[str | None]:
    with closing(sqlite3.connect(store)) as connection:
        return [status for (status,) in connection.execute("SELECT status FROM trials")]


def n_evaluations(store: Path) -> int:
    try:
        with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
            found: int = connection.execute("SELECT count(*) FROM evaluations").fetchone()[0]
            return found
    except sqlite3.OperationalError:  # not there yet
        return 0


@pytest.mark.slow
def test_json_is_the_only_thing_on_the_stdout_of_a_process(tmp_path: Path) -> None:
    write_user_file(
        tmp_path,
        before="print('loading')",
        fields="model=lambda: print('building', flush=True) or nn.Linear(4, 3)",
    )

    out, err = start(
        "sweep", "mine.py:workload", "--batch-sizes", "20", *EPOCH, "--json", folder=tmp_path
    ).communicate(timeout=120)

    jsonschema.validate(json.loads(out), json.loads(SCHEMA.read_text()))
    assert "loading" in err
    assert "building" in err


@pytest.mark.slow
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
def test_an_interrupted_process_stores_everything_and_says_how_to_go_on(
    interrupt: Any, tmp_path: Path
) -> None:
    write_user_file(tmp_path)
    store = tmp_path / "batchlab.db"
    request = ["sweep", "mine.py:workload", "--batch-sizes", "1,2"]
    process = start(*request, "--epochs", "100000", folder=tmp_path)
    deadline_s = time.monotonic() + 60
    while n_evaluations(store) < 20 and time.monotonic() < deadline_s:
        time.sleep(0.1)

    interrupt(process)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 130, err
    assert out == ""
    last_line = err.splitlines()[-1]
    assert last_line.startswith("interrupted; everything so far is stored. To go on: batchlab ")
    assert last_line.endswith(f"batchlab {' '.join(request)} --epochs 100000")
    assert "Traceback" not in err
    assert None in statuses(store)
    with Store.existing(store) as opened:
        before = {r.trial.trial_id: r.steps for r in opened.study().records}
    out, err = start(*request, "--steps", "500", folder=tmp_path).communicate(timeout=120)
    with Store.existing(store) as opened:
        after = opened.study().records
    assert any(record.resumed_from_steps for record in after), (before, err)
    assert all(record.steps >= 500 for record in after)


@pytest.mark.slow
def test_a_budget_is_a_ceiling_on_the_whole_command(tmp_path: Path) -> None:
    write_user_file(tmp_path)
    arguments = [
        *("sweep", "mine.py:workload", "--batch-sizes", "1,2", "--epochs", "1000000"),
        *("--target", "loss=0", "--report", "page.html"),
    ]

    started_s = time.monotonic()
    process = start(*arguments, "--budget", "20s", folder=tmp_path)
    _, err = process.communicate(timeout=120)
    spent_s = time.monotonic() - started_s

    assert process.returncode == 0, err
    assert spent_s < 21
    assert set(statuses(tmp_path / "batchlab.db")) == {"timeout"}
    assert (tmp_path / "page.html").exists()


def test_the_help_names_what_can_be_measured(do: Any) -> None:
    said = do("sweep", "--help").out

    assert all(name in said for name in on_request())


@pytest.mark.slow
def test_what_is_asked_for_is_measured_stored_and_on_the_page(do: Any, tmp_path: Path) -> None:
    write_user_file(tmp_path)
    asked = ["--batch-sizes", "20,50", "--epochs", "2", "--measure", "sharpness"]
    asked += ["--measure", "noise_scale", "--report", str(tmp_path / "page.html")]

    done = do("sweep", "mine.py:workload", *asked)

    assert done.code == 0
    with Store(tmp_path / "batchlab.db") as store:
        records = [store.record(trial_id) for trial_id in _trial_ids(tmp_path)]
    for record in records:
        assert record is not None
        found = {each.samples: dict(each.measured).get("sharpness") for each in record.evaluations}
        assert [at for at, value in found.items() if value is not None] == [0, 200, 400]
    assert "sharpness, at the end" in (tmp_path / "page.html").read_text()

    again = do("sweep", "mine.py:workload", *asked, "--measure", "top_eigenvalue")

    assert "2 of 2 trials have no top_eigenvalue: they were trained before" in again.err


def _trial_ids(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "batchlab.db")) as connection:
        return [row[0] for row in connection.execute("SELECT trial_id FROM trials")]
