from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def test_it_says_what_it_found_and_what_to_add(
    do: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "help").write_text("#!/bin/sh\necho '  --batch-size N  examples (default: 8)'\n")
    (tmp_path / "help").chmod(0o755)

    done = do("init", "--", "./help")

    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "Wrote batchlab.toml. Edit it before you use it.",
        "Found: --batch-size (batch_size).",
        "Not found, add what your script has: {learning_rate}, {seed}, {epochs}, {steps}, "
        "{output_dir}, {resume_from}.",
        "Name your metric, and which values of it are better.",
    ]
    assert do("init", "--", "./help").code == 2
