from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.reference.user_file import write_user_file

from batchlab.store.store import Store


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_a_completion_script_that_calls_batchlab(shell: str, do: Any) -> None:
    done = do("completion", shell)

    assert done.code == 0
    assert f"_BATCHLAB_COMPLETE={shell}_complete" in done.out
    assert "batchlab" in done.out


def completed(words: str, position: str, *, shell: str = "bash") -> list[str]:
    """What a shell is offered, in a process that may not load torch."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.modules['torch'] = None; from batchlab.cli.main import main; main()",
        ],
        env=os.environ
        | {
            "_BATCHLAB_COMPLETE": f"{shell}_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": position,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def offered(words: str) -> list[str]:
    """The names that bash is offered for the last word; its first line asks for files."""
    return completed(words, str(len(words.split(" ")) - 1))


def test_the_completion_of_bash_knows_commands_and_options() -> None:
    assert completed("batchlab sw", "1") == ["sweep"]
    assert completed("batchlab sweep --batch", "2") == ["--batch-sizes", "--batch-size"]
    assert completed("batchlab sweep --sampling re", "3") == ["reshuffle", "replacement"]


def test_workloads_are_offered_built_in_or_in_a_file_that_is_not_run(tmp_path: Path) -> None:
    write_user_file(tmp_path)
    (tmp_path / "more.py").write_text(
        "import batchlab\nraise SystemExit('it ran')\n"
        "ready = batchlab.Workload(name='ready')\n"
        "def build_model(): ...\ndef _own(): return batchlab.Workload()\n"
    )
    (tmp_path / "broken.py").write_text("def workload(:\n")

    assert offered("batchlab sweep mnist")[1:] == ["mnist-mlp", "mnist-softmax"]
    assert offered("batchlab advise m")[1:] == [
        "mnist-mlp",
        "mnist-softmax",
        "moby-dick",
        "mine.py:workload",
        "more.py:ready",
    ]
    assert offered(f"batchlab check {tmp_path}/mi")[1:] == [f"{tmp_path}/mine.py:workload"]
    assert offered("batchlab noise broken")[1:] == []


def test_metrics_of_the_workload_that_is_named_are_offered(tmp_path: Path) -> None:
    write_user_file(tmp_path)

    assert offered("batchlab advise mnist-mlp --target a") == ["accuracy="]
    assert offered("batchlab sweep moby-dick --target ") == ["loss=", "accuracy="]
    assert offered("batchlab sweep mine.py:workload --target ") == ["accuracy=", "loss="]
    assert offered("batchlab sweep mine.py : workload --target a") == ["accuracy="]  # as bash cuts
    assert offered("batchlab advise --target a") == ["accuracy="]
    assert offered("batchlab sweep absent.py:workload --target ") == ["loss="]


@pytest.mark.usefixtures("stored")
def test_studies_of_the_store_are_offered(tmp_path: Path) -> None:
    with Store("lab.db") as store:
        ((study_id, _, command),) = store.studies()
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    assert offered("batchlab report --store lab.db --study ") == [study_id]
    assert offered(f"batchlab weights --store lab.db --study {study_id[:3]}") == [study_id]
    assert offered("batchlab weights --store lab.db --study none") == []
    told = completed("batchlab report --store lab.db --study ", "", shell="fish")
    assert told == [f"{study_id}\t{command}"]
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_what_is_no_store_offers_nothing_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("no store")

    assert offered("batchlab report --store notes.db --study ") == []
    assert offered("batchlab report --store absent.db --study ") == []
    assert offered("batchlab report --study ") == []
    assert (tmp_path / "notes.db").read_text() == "no store"
    assert [file.name for file in tmp_path.iterdir()] == ["notes.db"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("completion ksh", "'ksh' is not one of 'bash', 'zsh', 'fish'"),
    ],
)
def test_wrong_usage_is_told_in_one_line_and_stores_nothing(
    arguments: str, told: str, refused: Any
) -> None:
    refused(arguments, told)
