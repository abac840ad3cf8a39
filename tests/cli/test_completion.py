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


def offered(words: str) -> list[str]:
    """What bash is offered for the last word, in a process that may not load torch."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.modules['torch'] = None; from batchlab.cli.main import main; main()",
        ],
        env=os.environ
        | {
            "_BATCHLAB_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_bash_is_offered_commands_options_and_workloads() -> None:
    assert offered("batchlab sw") == ["plain,sweep"]
    assert offered("batchlab sweep --batch") == ["plain,--batch-sizes", "plain,--batch-size"]
    assert offered("batchlab sweep --sampling re") == ["plain,reshuffle", "plain,replacement"]
    assert offered("batchlab sweep mnist") == [
        "file,mnist",
        "plain,mnist-cnn",
        "plain,mnist-mlp",
        "plain,mnist-softmax",
    ]
