"""What torchrun and accelerate say after an error is told from what the training said."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from batchlab.records.trial import Status
from batchlab.script.process import status_and_reason, without_launcher_words
from batchlab.words.reasons import reason_text

TORCHRUN = """\
Traceback (most recent call last):
  File "/env/bin/torchrun", line 8, in <module>
    sys.exit(main())
  File "/env/lib/python3.11/site-packages/torch/distributed/run.py", line 1028, in main
    run(args)
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
train.py FAILED
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  rank      : 1 (local_rank: 1)
  exitcode  : {code} (pid: 27938)
============================================================""".splitlines()
ACCELERATE = """\
Traceback (most recent call last):
  File "/env/lib/python3.11/site-packages/accelerate/commands/launch.py", line 1000, in main
    launch_command(args)
subprocess.CalledProcessError: Command '['python', 'train.py']' returned non-zero exit status 1.\
""".splitlines()
LOG = "E1124 14:30:04.66 27931 torch/distributed/elastic/multiprocessing/api.py:1002] failed"
OWN = ["Traceback (most recent call last):", '  File "train.py", line 5', "ValueError: no"]


@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate"])
def test_the_last_line_of_a_training_stands_before_the_words_of_its_launcher(
    launcher: list[str],
) -> None:
    own, launchers = without_launcher_words(["epoch 1", *OWN, *launcher])

    assert own == ("epoch 1", *OWN)
    assert launchers == tuple(launcher)


def test_what_other_processes_say_after_the_error_of_one_is_left_out() -> None:
    of_a_rank = [f"[rank1]: {line}" for line in OWN]

    own, _ = without_launcher_words(["step 1", *of_a_rank, "step 2", LOG, *TORCHRUN])

    assert own == ("step 1", *of_a_rank)


@pytest.mark.parametrize("lines", [[], OWN, ["epoch 1"], [*TORCHRUN, *OWN]], ids=range(4))
def test_output_that_no_launcher_ends_stays_whole(lines: list[str]) -> None:
    assert without_launcher_words(lines) == (tuple(lines), ())


def test_a_process_that_the_kernel_killed_for_memory_is_known_by_the_words_of_its_launcher() -> (
    None
):
    lines = ["epoch 1", *(line.format(code=-signal.SIGKILL.value) for line in TORCHRUN)]
    own, launchers = without_launcher_words(lines)

    status, _ = status_and_reason(
        ("torchrun", "train.py"),
        wait_status=1 << 8,
        was_asked=False,
        kernel_killed=True,
        is_device_full=False,
        last_lines=own,
        launcher_lines=launchers,
    )

    assert status == Status.OOM


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

    assert end is not None
    assert "ValueError: 32 does not divide" in reason_text(end.reason)
