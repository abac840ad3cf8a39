from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_a_completion_script_that_calls_batchlab(shell: str, do: Any) -> None:
    done = do("completion", shell)

    assert done.code == 0
    assert f"_BATCHLAB_COMPLETE={shell}_complete" in done.out
    assert "batchlab" in done.out


def test_the_completion_of_bash_knows_commands_and_options() -> None:
    def completed(words: str, position: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", "from batchlab.cli.main import main; main()"],
            env=os.environ
            | {
                "_BATCHLAB_COMPLETE": "bash_complete",
                "COMP_WORDS": words,
                "COMP_CWORD": position,
            },
            capture_output=True,
            text=True,
            check=True,
        )
        return [line.partition(",")[2] for line in done.stdout.splitlines()]

    assert completed("batchlab sw", "1") == ["sweep"]
    assert completed("batchlab sweep --batch", "2") == ["--batch-sizes"]
    assert completed("batchlab sweep --sampling re", "3") == ["reshuffle", "replacement"]


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
