"""Commands for tests, started quickly, with a check that nothing of them is left."""

import os
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.reference.living import living

from batchlab.script.process import Launched

QUICK = (sys.executable, "-I", "-S", "-c")


class Started:
    """A command under test and what it wrote."""

    def __init__(self, argv: Sequence[str], folder: Path, marker: str, grace_s: float) -> None:
        self._output = b""
        self.launched = Launched(
            argv,
            cwd=folder,
            environment=os.environ,
            folder=folder / "trial",
            marker=marker,
            grace_s=grace_s,
        )

    @property
    def text(self) -> str:
        """All of its output so far."""
        while piece := self.launched.read_output():
            self._output += piece
        return self._output.decode()

    def receive_until(self, text: str) -> None:
        """Receive until it has written this."""
        while text not in self.text:
            assert self.launched.wait(0.01) is None, self.launched.receive()


@pytest.fixture
def start(tmp_path):
    """Starts a command: Python's code, or arguments."""
    study = f"test-{uuid.uuid4().hex}"
    started: list[Started] = []

    def start_one(command: str | Sequence[str], *, grace_s: float = 0.3) -> Started:
        argv = (*QUICK, command) if isinstance(command, str) else command
        started.append(Started(argv, tmp_path, f"{study}/{len(started)}", grace_s))
        return started[-1]

    yield start_one

    for one in started:
        one.launched.close()
    assert living(study) == ()
