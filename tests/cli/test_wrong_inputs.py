"""The table of wrong inputs, wrong_inputs.txt: each is told in the one line that stands there."""

import json
import re
import shlex
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import torch
from tests.reference.made_up import made_up_study
from tests.reference.made_up_study import STUDY, store_with_study
from tests.reference.stored_study import put_study
from tests.reference.user_file import write_user_file

from batchlab.runs.replay import Journal, JournalEntry
from batchlab.store.store import Store

TABLE = Path(__file__).with_name("wrong_inputs.txt")
POINTS = "batch_size,steps_to_target\n"
FILES = {
    "empty.py": "",
    "train.py": "",
    "broken.py": "import torch\ndef workload(:\n",
    "missing_import.py": "import not_installed\n",
    "raises.py": "raise OSError('no disk')\n",
    "returns.py": (
        "number = 3\n\n\ndef workload():\n    return number\n\n\n"
        "def forgets():\n    number + 1\n\n\n"
        "def needs(x):\n    return x\n\n\ndef fails():\n    return number / 0\n"
    ),
    "notes.txt": "hello",
    "notes.db": "no store at all",
    "empty.json": json.dumps({}),
    "epochs.toml": "command = ['python', 'train.py']\nepochs = 1.5\n",
    "rates.toml": "command = ['python', 'train.py']\nlearning_rates = [0.1, -1]\n",
    "points.csv": POINTS + "16,400\n64,160\n256,100\n",
    "words.csv": POINTS + "16,many\n64,160\n256,100\n",
    "negative.csv": POINTS + "16,-400\n64,160\n256,100\n",
    "columns.csv": "size,steps\n16,400\n",
    "one.csv": POINTS + "16,400\n",
    "header.csv": POINTS,
    "empty.csv": "",
}


# What is typed, the exit code, the line.
ROWS = re.findall(r"^\$ (.*)\n(\d) (.*)$", TABLE.read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files of all kinds, stores among them."""
    folder = tmp_path_factory.mktemp("files")
    write_user_file(folder)
    (folder / "folder").mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    with Store(folder / "nothing.db"):
        pass
    with Store(folder / "lab.db") as store:
        put_study(store, made_up_study(batch_sizes=(64, 256)))
    with store_with_study(folder / "open.db") as store:
        first = JournalEntry(profile="{}", budget_s=1.0, n_workers=2, spent_s=0.0)
        Journal(store, STUDY).begin(first)
    shutil.copy(folder / "lab.db", folder / "newer.db")
    with closing(sqlite3.connect(folder / "newer.db")) as connection:
        connection.execute("PRAGMA user_version = 9999")
    (folder / "cut.db").write_bytes((folder / "lab.db").read_bytes()[:5000])
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    left_by_python = {"__pycache__"}
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and not left_by_python & set(file.parts)
    }


@pytest.mark.parametrize(("typed", "code", "told"), ROWS, ids=[row[0] for row in ROWS])
def test_a_wrong_input_is_told_in_this_line_and_changes_no_file(
    typed, code, told, do, folder, monkeypatch
):
    monkeypatch.chdir(folder)
    with Store.existing("lab.db") as store:
        ((_, made, _),) = store.studies()
    if "cuda" in typed and torch.cuda.is_available():
        pytest.skip("this machine has what the line says is not there")
    before = contents(folder)

    done = do(*shlex.split(typed))

    known = {"folder": folder, "torch": torch.__version__, "made": made}
    for name, value in known.items():
        told = told.replace(f"{{{name}}}", str(value))
    assert done.err == f"{told}\n"
    assert (done.code, done.out) == (int(code), "")
    after = contents(folder)
    assert before.items() <= after.items()
    # To look into a store SQLite makes these two beside it.
    assert {name[-4:] for name in after.keys() - before.keys()} <= {"-shm", "-wal"}


def test_the_table_has_every_command_and_enough_of_each_kind():
    commands = {typed.split()[0] for typed, _, _ in ROWS}

    assert len(ROWS) == len({typed for typed, _, _ in ROWS}) >= 100
    assert commands >= {"advise", "sweep", "profile", "noise", "check", "fit", "report", "weights"}
    assert {code for _, code, _ in ROWS} == {"1", "2"}
