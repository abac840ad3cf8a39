"""Sweeps and advices of the scripts beside, as their owners would ask for them."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parent / "scripts"
TAKES = ("--batch-size", "{batch_size}", "--lr", "{learning_rate}", "--seed", "{seed}")


@pytest.fixture
def ask(do, tmp_path, monkeypatch):
    """Ask about a script of some kind, or a module, which is copied beside its network first."""
    monkeypatch.setattr("batchlab.measure.command_time._TIMED_S", 0.3)

    def ask(script: str, *arguments: str, takes: tuple[str, ...] = TAKES) -> Any:
        name, *kind = script.split()
        called = [name] if name.endswith(".py") else ["-m", name]
        called += ["--kind", *kind] if kind else []
        for file in (f"{name.removesuffix('.py')}.py", "net.py"):
            shutil.copy(SCRIPTS / file, tmp_path / file)
        return do(*arguments, "--", sys.executable, "-u", *called, *takes)

    return ask
