"""One command as processes: how it is started, ended and killed, and what its end means."""

import gc
import os
import shutil
import signal
import stat
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.reference.living import living

from batchlab.records.estimate import Reason
from batchlab.records.trial import Status
from batchlab.script.process import (
    CommandEnd,
    Launched,
    out_of_memory_line,
    status_and_reason,
    without_launcher_words,
)
from batchlab.words.reasons import reason_text

IGNORES_SIGTERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
SLEEPS = "import time; print('here', flush=True); time.sleep(600)"


def launched_in(place: Path, *argv: str, folder: Path, marker: str) -> Launched:
    of = {"environment": os.environ, "folder": folder, "marker": marker, "grace_s": 10.0}
    return Launched(argv, cwd=place, **of)


def ended(started) -> CommandEnd:
    end: CommandEnd | None = started.launched.wait(30)
    assert end is not None, "it goes on"
    return end


def why(end: CommandEnd) -> str:
    return reason_text(end.reason)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        # One stream, in the order in which it was written.
        ("import os\nfor i in range(9): os.write(1 + i % 2, b'%d' % i)", "012345678"),
        # A session and a group of its own, and nothing to read.
        (
            "import os; print(os.getsid(0) == os.getpgid(0) == os.getpid(), os.read(0, 1))",
            "True b''\n",
        ),
        # Python ignores SIGPIPE, and what it starts would inherit that.
        (("sh", "-c", "yes | head -n 1"), "y\n"),
    ],
)
def test_a_command_runs_as_on_a_terminal_of_its_own(command, says, start):
    started = start(command)

    end = ended(started)

    assert (end.status, end.was_asked) == (Status.OK, False)
    assert started.text == says


LAST_WORD = (
    "import signal, sys, time\n"
    "signal.signal(signal.SIGTERM, lambda *_: (print('saved'), sys.exit(0)))\n"
    "print('here', flush=True); time.sleep(600)"
)
# Each forks the next in a new session and ends, faster than one can look; twenty chains at once.
STORM = (
    "import os\n"
    "for _ in range(20):\n"
    "    if os.fork() == 0:\n"
    "        while True:\n"
    "            if os.fork(): os._exit(0)\n"
    "            os.setsid(); time.sleep(0.002)\n"
)


def end_and_close(launched: Launched) -> None:
    launched.end()
    launched.close()


def end_supervisor(launched: Launched) -> None:
    os.kill(launched._supervisor.pid, signal.SIGTERM)


@pytest.mark.parametrize(
    ("code", "ask", "grace_s", "least_s"),
    [
        (LAST_WORD, Launched.end, 20.0, 0.0),
        (IGNORES_SIGTERM + SLEEPS, Launched.end, 0.3, 0.3),
        # To close it leaves no grace.
        (IGNORES_SIGTERM + SLEEPS, end_and_close, 30.0, 0.0),
        (f"{IGNORES_SIGTERM}import time\n{STORM}{SLEEPS}", Launched.end, 0.1, 0.0),
        (SLEEPS, end_supervisor, 0.3, 0.0),
    ],
    ids=["may say a last word", "is killed after its grace", "is closed", "a storm", "supervisor"],
)
def test_told_to_end_it_has_its_grace_and_leaves_nothing(code, ask, grace_s, least_s, start):
    started = start(code, grace_s=grace_s)
    started.receive_until("here")
    asked_s = time.monotonic()

    ask(started.launched)

    end = ended(started)
    assert (end.status, end.was_asked) == (Status.KILLED, True)
    assert end.last_lines == ("here", "saved")[: 2 if code == LAST_WORD else 1]
    assert least_s <= time.monotonic() - asked_s < 20.0


DAEMON = """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    for end in (0, 1, 2):
        os.close(end)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with open("part", "w") as file:
        file.write(str(os.getpid()))
    os.rename("part", "daemon")  # so that nobody reads an empty file
    time.sleep(600)
while not os.path.exists("daemon"):
    time.sleep(0.001)
print("forked", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("then", ["", "time.sleep(600)"])
def test_a_daemon_that_left_the_session_ends_with_its_command(then, start, tmp_path):
    started = start(DAEMON + then)
    started.receive_until("forked")
    daemon = int((tmp_path / "daemon").read_text())

    if then:
        started.launched.end()

    end = ended(started)
    assert end.was_asked == bool(then)
    with pytest.raises(ProcessLookupError):
        os.kill(daemon, 0)  # not even a zombie


@pytest.mark.parametrize("code", [SLEEPS, f"{DAEMON}time.sleep(600)"])
def test_what_is_left_of_a_command_whose_supervisor_was_killed_is_ended(code, start):
    """On Linux the kernel ends the command itself, but not a daemon of it."""
    started = start(code)
    started.receive_until("here" if code == SLEEPS else "forked")
    os.kill(started.launched._supervisor.pid, signal.SIGKILL)
    until_s = time.monotonic() + 30
    while code == SLEEPS and sys.platform == "linux" and living(started.launched.marker):
        assert time.monotonic() < until_s
        time.sleep(0.01)

    end = ended(started)

    assert end.status == Status.KILLED
    assert "was killed, so batchlab ended the command" in why(end)
    assert living(started.launched.marker) == ()


@pytest.mark.slow
def test_one_that_is_dropped_ends(tmp_path):
    marker = f"dropped-{os.getpid()}-{time.monotonic_ns()}"
    launched = launched_in(tmp_path, "sleep", "600", folder=tmp_path, marker=marker)
    until_s = time.monotonic() + 30
    while not living(marker):  # it has the marker from its exec on
        assert time.monotonic() < until_s
        time.sleep(0.01)

    del launched
    gc.collect()

    while living(marker):
        assert time.monotonic() < until_s
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("./data.txt",), "./data.txt ended with exit code 127: ./data.txt: Permission denied"),
        (("./words",), "Exec format error"),
        (("./orphan.py",), "No such file or directory"),
        (("sh", "-c", "exit 3"), "sh -c ended with exit code 3: it printed nothing"),
        (("sh", "-c", "echo no data >&2; exit 2"), "exit code 2: no data"),
        # More may be printed below the error.
        (
            ("sh", "-c", "echo 'ValueError: 3 is odd\nwandb: saved\n 10%|# |'; exit 1"),
            "1: ValueError: 3",
        ),
        (("sh", "-c", "(kill -SEGV $BASHPID); exit 139"), "without a result (SIGSEGV)"),
        ("input()", "asks for input or needs a terminal, which it does not have here (EOFError"),
        ("import getpass; getpass.getpass()", "asks for input or needs a terminal"),
        ("import termios; termios.tcgetattr(0)", "a terminal, which it does not have here"),
    ],
)
def test_a_command_that_fails_at_once_is_told_in_one_line(command, says, start, tmp_path):
    (tmp_path / "data.txt").write_text("1,2")
    (tmp_path / "words").write_text("words")
    (tmp_path / "orphan.py").write_text("#!/no/such/python\n")
    for name in ("words", "orphan.py"):
        (tmp_path / name).chmod(stat.S_IRWXU)

    end = ended(start(command))

    assert not end.status.ended_well
    assert says in why(end)
    assert "\n" not in why(end)


def test_a_working_folder_that_is_not_there_is_told(tmp_path):
    with launched_in(tmp_path / "nowhere", "true", folder=tmp_path, marker="nowhere/1") as launched:
        end = launched.wait(30)

    assert f"code 127: {tmp_path}/nowhere: No such file or directory" in why(end)


# What an end means: memory that ran out, launchers, other errors


ROWS = (Path(__file__).parent / "out_of_memory.txt").read_text("utf-8").split("\n")[3:-1]


@pytest.mark.parametrize("row", ROWS)
def test_what_a_framework_says_when_memory_runs_out_is_known(row):
    """Words that are said of other failures too need their witness."""
    kind, _, line = row.split(" | ", 2)
    lines = ["Epoch 1", line, "bye"]

    for kernel_killed, kinds in ((False, ("oom",)), (True, ("oom", "kernel"))):
        believed = out_of_memory_line(lines, kernel_killed=kernel_killed)
        assert believed == (line.strip() if kind in kinds else None)


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
    usual = {"exit_code": 1, "was_asked": False, "kernel_killed": False}
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
def test_memory_ran_out_only_where_an_end_bears_it_out(lines, seen, status):
    assert end_of(lines, **seen)[0] == status


ACCELERATE = """\
Traceback (most recent call last):
  File "/env/lib/python3.11/site-packages/accelerate/commands/launch.py", line 1000, in main
    launch_command(args)
subprocess.CalledProcessError: Command '['python', 'train.py']' returned non-zero exit status 1.\
""".splitlines()
OWN = ["Traceback (most recent call last):", '  File "train.py", line 5', "ValueError: no"]


@pytest.mark.parametrize(
    ("own", "launchers"),
    [
        *((["epoch 1", *OWN], launcher) for launcher in (TORCHRUN, ACCELERATE)),
        # Output that no launcher ends stays whole.
        *((lines, []) for lines in ([], OWN, ["epoch 1"], [*TORCHRUN, *OWN])),
    ],
)
def test_the_lines_of_a_training_are_told_from_those_of_its_launcher(own, launchers):
    assert without_launcher_words([*own, *launchers]) == (tuple(own), tuple(launchers))


@pytest.mark.nightly
def test_an_error_under_the_real_torchrun_is_told_by_its_own_line(start, tmp_path):
    torchrun = shutil.which("torchrun", path=str(Path(sys.executable).parent))
    assert torchrun is not None
    script = tmp_path / "train.py"
    script.write_text("print('epoch 1', flush=True)\nraise ValueError('32 does not divide')\n")
    started = start((torchrun, "--standalone", "--nproc_per_node", "1", str(script)))

    end = started.launched.wait(120)

    assert "ValueError: 32 does not divide" in reason_text(end.reason)
