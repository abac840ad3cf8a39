from __future__ import annotations

import subprocess
import sys

from batchlab.script.process import output_environment


def test_what_python_prints_comes_at_once_through_a_pipe() -> None:
    code = "import time; print('step 1 loss 0.5'); time.sleep(60)"

    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=output_environment({})
    ) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        child.kill()

    assert first == b"step 1 loss 0.5\n"


def test_rich_draws_wide_into_a_pipe() -> None:
    code = (
        "from rich.console import Console; console = Console(); "
        "print(console.is_terminal, console.width)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=output_environment({})
    )

    assert done.stdout == "True 300\n"
