"""What the end of a command means: memory that ran out, launchers, other errors."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchlab.records.estimate import Reason
from batchlab.records.trial import Status
from batchlab.script.process import (
    out_of_memory_line,
    status_and_reason,
    without_launcher_words,
)
from batchlab.words.reasons import reason_text

ROWS = (Path(__file__).parent / "out_of_memory.txt").read_text("utf-8").split("\n")[3:-1]
NONE_SEEN = {"kernel_killed": False, "is_device_full": False}
NEEDED = {
    "kernel": {**NONE_SEEN, "kernel_killed": True},
    "device": {**NONE_SEEN, "is_device_full": True},
}


@pytest.mark.parametrize("row", ROWS)
def test_what_a_framework_says_when_memory_runs_out_is_known(row: str) -> None:
    """Words that are said of other failures too need their witness."""
    kind, _, line = row.split(" | ", 2)
    lines, believed = ["Epoch 1", line, "bye"], line.strip()

    assert out_of_memory_line(lines, **NONE_SEEN) == (believed if kind == "oom" else None)
    for needed, witness in NEEDED.items():
        is_believed = kind in ("oom", needed)
        assert out_of_memory_line(lines, **witness) == (believed if is_believed else None)


TORCHRUN = """\
Traceback (most recent call last):
  File "/env/lib/python3.11/site-packages/torch/distributed/run.py", line 1028, in main
    run(args)
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
Root Cause (first observed failure):""".splitlines()
TRYING = "CUDA out of memory, trying half the batch"


def end_of(lines: list[str], **seen: Any) -> tuple[Status, Reason | None]:
    own, launchers = without_launcher_words(lines)
    usual = {"exit_code": 1, "was_asked": False, **NONE_SEEN}
    return status_and_reason(
        ("python", "train.py"), last_lines=own, launcher_lines=launchers, **(usual | seen)
    )


@pytest.mark.parametrize(
    ("lines", "seen", "status"),
    [
        # Words alone count only together with a failed exit.
        ([TRYING], {"exit_code": 0}, Status.OK),
        ([TRYING], {}, Status.OOM),
        # Signal nine, of the command or of its shell, only if the kernel killed for it.
        *(
            ([], {"exit_code": nine, "kernel_killed": killed}, status)
            for nine in (-signal.SIGKILL, 137)
            for killed, status in ((True, Status.OOM), (False, Status.KILLED))
        ),
        # A kill elsewhere is not blamed for a mistake, nor what batchlab asked for for anything.
        (["NameError: name 'x' is not defined"], {"kernel_killed": True}, Status.ERROR),
        (["MemoryError"], {"was_asked": True}, Status.KILLED),
        # The words of a launcher may tell of a kill, too.
        (
            ["epoch 1", *TORCHRUN, "  exitcode  : -9 (pid: 27938)"],
            {"kernel_killed": True},
            Status.OOM,
        ),
    ],
)
def test_memory_ran_out_only_where_an_end_bears_it_out(
    lines: list[str], seen: dict[str, Any], status: Status
) -> None:
    assert end_of(lines, **seen)[0] == status


def test_the_error_is_quoted_though_more_was_printed_below_it() -> None:
    lines = ["  raise ValueError(size)", "ValueError: 3 is odd", "wandb: 2 files saved", " 10%|# |"]

    assert reason_text(end_of(lines)[1]).endswith("exit code 1: ValueError: 3 is odd")


def test_the_real_thing_is_recognized(start) -> None:
    started = start(
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "bytearray(8 << 30)"
    )

    end = started.launched.wait(30)

    assert end.status == Status.OOM
    assert dict(end.reason.values) == {"error": "MemoryError"}


ACCELERATE = """\
Traceback (most recent call last):
  File "/env/lib/python3.11/site-packages/accelerate/commands/launch.py", line 1000, in main
    launch_command(args)
subprocess.CalledProcessError: Command '['python', 'train.py']' returned non-zero exit status 1.\
""".splitlines()
LOG = "E1124 14:30:04.66 27931 torch/distributed/elastic/multiprocessing/api.py:1002] failed"
OWN = ["Traceback (most recent call last):", '  File "train.py", line 5', "ValueError: no"]


@pytest.mark.parametrize(
    ("own", "others", "launchers"),
    [
        *((["epoch 1", *OWN], [], launcher) for launcher in (TORCHRUN, ACCELERATE)),
        # Output that no launcher ends stays whole.
        *((lines, [], []) for lines in ([], OWN, ["epoch 1"], [*TORCHRUN, *OWN])),
        # What other processes say after the error of one is left out.
        (["step 1", *(f"[rank1]: {line}" for line in OWN)], ["step 2", LOG], TORCHRUN),
    ],
)
def test_the_last_line_of_a_training_stands_before_the_words_of_its_launcher(
    own: list[str], others: list[str], launchers: list[str]
) -> None:
    found = without_launcher_words([*own, *others, *launchers])

    assert found == (tuple(own), tuple(launchers))


@pytest.mark.slow
def test_an_error_under_the_real_torchrun_is_told_by_its_own_line(
    start: Callable, tmp_path: Path
) -> None:
    torchrun = shutil.which("torchrun", path=str(Path(sys.executable).parent))
    assert torchrun is not None
    script = tmp_path / "train.py"
    script.write_text("print('epoch 1', flush=True)\nraise ValueError('32 does not divide')\n")
    started = start((torchrun, "--standalone", "--nproc_per_node", "1", str(script)))

    end = started.launched.wait(120)

    assert "ValueError: 32 does not divide" in reason_text(end.reason)
