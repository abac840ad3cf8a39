"""Command lines run in this process, each test in an empty folder of its own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from tests.reference.made_up import made_up_study
from tests.reference.reprs import reprs_in
from tests.reference.stored_study import put_study

from batchlab.cli import main as cli
from batchlab.store.store import Store


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class Done:
    """What a command line did in this process."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err


@pytest.fixture
def do(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command line; whatever it is, what it prints holds no repr of an object."""

    def do(*arguments: str) -> Done:
        capsys.readouterr()
        # A budget counts from the start of the process, which here ran other tests before.
        code = cli._exit_code(list(arguments), started_s=time.monotonic())
        done = Done(code, *capsys.readouterr())
        assert reprs_in(done.out + done.err) == [], "a command prints no repr"
        return done

    return do


@pytest.fixture
def stored() -> Path:
    with Store("lab.db") as store:
        put_study(store, made_up_study(batch_sizes=(64, 256)))
    return Path("lab.db")
