"""Command lines run in this process, each test in an empty folder of its own."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.reference.made_up import made_up_study
from tests.reference.reprs import reprs_in
from tests.reference.stored_study import put_study

from batchlab.cli import main as cli
from batchlab.store.store import Store


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


SCHEMAS = Path(__file__).parents[2] / "docs" / "schema"


@dataclass(frozen=True)
class Done:
    """What a command line did in this process."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """All that it printed, in one line."""
        return " ".join((self.out + self.err).split())

    @property
    def document(self) -> Any:
        """What it printed, which is one JSON document as the schema of its command has it."""
        assert self.code == 0, self.err
        document = json.loads(self.out)
        schema = SCHEMAS / f"{document['command']}.json"
        jsonschema.validate(document, json.loads(schema.read_text()))
        return document


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
