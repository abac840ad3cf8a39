"""Scripts that look for a terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parent / "scripts" / "wants_terminal.py"
OWN = ("--", sys.executable, str(SCRIPT), "{batch_size}", "{learning_rate}")


def test_a_script_that_wants_a_terminal_is_told_so(do: Any) -> None:
    asked = ("--metric", "acc", "--examples", "6000", "--batch-sizes", "32,128")

    done = do("sweep", *asked, "--learning-rates", "0.02", "--budget", "25s", *OWN)

    assert done.code == 1
    assert "wants a terminal, and here is none (stty: 'standard input': " in done.err
    assert "Its last line: IndexError" in done.err
    assert "asks for input" not in done.err
