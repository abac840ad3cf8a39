"""Sweeps and advices of the scripts beside, as their owners would ask for them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parent / "scripts"
TAKES = ("--batch-size", "{batch_size}", "--lr", "{learning_rate}", "--seed", "{seed}")


@pytest.fixture
def ask(do: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Ask batchlab about a script, or a module, which is copied beside its network first."""
    monkeypatch.setattr("batchlab.measure.command_time._TIMED_S", 0.3)

    def ask(script: str, *arguments: str, takes: tuple[str, ...] = TAKES) -> Any:
        called = (script,) if script.endswith(".py") else ("-m", script)
        for name in (f"{script.removesuffix('.py')}.py", "net.py"):
            shutil.copy(SCRIPTS / name, tmp_path / name)
        return do(*arguments, "--", sys.executable, "-u", *called, *takes)

    return ask
