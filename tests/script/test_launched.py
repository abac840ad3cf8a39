"""One command as processes: how it is started, ended and killed, and how its end is told."""

from __future__ import annotations

import gc
import os
import signal
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.reference.living import living

from batchlab.records.trial import Status
from batchlab.script.process import CommandEnd, Launched
from batchlab.words.reasons import reason_text

IGNORES_SIGTERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
SLEEPS = "import time; print('here', flush=True); time.sleep(600)"


def launched_in(place: Path, *argv: str, folder: Path, marker: str) -> Launched:
    return Launched(
        argv,
        cwd=place,
        environment=os.environ,
        folder=folder,
        marker=marker,
        on_output=lambda piece, at_s: None,
    )


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
def test_a_command_runs_as_on_a_terminal_of_its_own(
    command: str | tuple[str, ...], says: str, start: Callable
) -> None:
    started = start(command)

    end = ended(started)

    assert (end.status, end.left_behind, end.was_asked) == (Status.OK, None, False)
    assert started.text == says


def test_a_command_that_is_told_to_end_may_say_a_last_word(start: Callable) -> None:
    started = start(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('saved'), sys.exit(0)))\n"
        "print('ready', flush=True); time.sleep(600)",
        grace_s=20.0,
    )
    started.receive_until("ready")

    started.launched.end()

    end = ended(started)
    assert (end.status, end.was_asked, end.exit_code) == (Status.KILLED, True, 0)
    assert end.last_lines == ("ready", "saved")


@pytest.mark.parametrize("is_closed", [False, True])
def test_one_that_ignores_sigterm_is_killed_after_its_grace_and_not_before(
    is_closed: bool, start: Callable
) -> None:
    """To close it leaves no grace."""
    started = start(IGNORES_SIGTERM + SLEEPS, grace_s=30.0 if is_closed else 0.3)
    started.receive_until("here")
    asked_s = time.monotonic()

    started.launched.end()
    if is_closed:
        started.launched.close()

    assert ended(started).exit_code == -signal.SIGKILL
    took_s = time.monotonic() - asked_s
    assert took_s < 20.0 if is_closed else took_s >= 0.3


DAEMON = """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    for end in (0, 1, 2):
        os.close(end)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open("daemon", "w").write(str(os.getpid()))
    time.sleep(600)
while not os.path.exists("daemon"):
    time.sleep(0.001)
print("forked", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("then", ["", "time.sleep(600)"])
def test_a_daemon_that_left_the_session_ends_with_its_command(
    then: str, start: Callable, tmp_path: Path
) -> None:
    started = start(DAEMON + then)
    started.receive_until("forked")
    daemon = int((tmp_path / "daemon").read_text())

    if then:
        started.launched.end()

    end = ended(started)
    assert (end.left_behind is None) == bool(then)
    with pytest.raises(ProcessLookupError):
        os.kill(daemon, 0)  # not even a zombie


def test_a_command_that_leaves_a_process_with_its_output_ends_all_the_same(start: Callable) -> None:
    started = start("import os, time\nif os.fork() == 0: time.sleep(600)\nprint('left')")

    end = ended(started)

    assert (end.status, end.exit_code) == (Status.OK, 0)
    assert reason_text(end.left_behind).startswith("the command ended and left 1 process running")


def test_a_command_that_closes_its_output_goes_on(start: Callable, tmp_path: Path) -> None:
    started = start(
        "import os, time\n"
        "os.write(1, b'closing'); os.close(1); os.close(2)\n"
        "while not os.path.exists('enough'): time.sleep(0.001)\n"
        "os._exit(7)"
    )
    started.receive_until("closing")
    assert started.launched.wait(0.2) is None

    (tmp_path / "enough").touch()

    assert ended(started).exit_code == 7


def test_processes_that_fork_faster_than_one_can_look_are_all_ended(start: Callable) -> None:
    # Each forks the next in a new session and ends; twenty of these chains at once.
    started = start(
        IGNORES_SIGTERM + "import os, time\n"
        "for _ in range(20):\n"
        "    if os.fork() == 0:\n"
        "        while True:\n"
        "            if os.fork(): os._exit(0)\n"
        "            os.setsid(); time.sleep(0.002)\n"
        "print('storm', flush=True); time.sleep(600)",
        grace_s=0.1,
    )
    started.receive_until("storm")

    started.launched.end()

    assert ended(started).was_asked


@pytest.mark.parametrize(
    ("code", "said", "is_left"), [(SLEEPS, "here", False), (DAEMON, "forked", True)]
)
def test_what_is_left_of_a_command_whose_supervisor_was_killed_is_ended(
    code: str, said: str, is_left: bool, start: Callable
) -> None:
    """On Linux the kernel ends the command itself, but not a daemon of it."""
    started = start(f"{code}time.sleep(600)" if is_left else code)
    started.receive_until(said)
    os.kill(started.launched._supervisor.pid, signal.SIGKILL)
    until_s = time.monotonic() + 30
    while not is_left and sys.platform == "linux" and living(started.launched.marker):
        assert time.monotonic() < until_s
        time.sleep(0.01)

    end = ended(started)

    assert end.status == Status.KILLED
    assert "was killed; batchlab ended the command" in why(end)
    assert living(started.launched.marker) == ()


def test_a_supervisor_that_is_told_to_end_takes_its_command_along(start: Callable) -> None:
    started = start(SLEEPS)
    started.receive_until("here")

    os.kill(started.launched._supervisor.pid, signal.SIGTERM)

    assert ended(started).was_asked


@pytest.mark.slow
def test_one_that_is_dropped_ends(tmp_path: Path) -> None:
    marker = f"dropped-{os.getpid()}-{time.monotonic_ns()}"
    launched = launched_in(tmp_path, "sleep", "600", folder=tmp_path, marker=marker)
    supervisor = launched._supervisor
    until_s = time.monotonic() + 30
    while not living(marker):  # it has the marker from its exec on
        assert time.monotonic() < until_s
        time.sleep(0.01)

    del launched
    gc.collect()

    assert supervisor.wait(30) == 0
    assert living(marker) == ()


def test_a_training_does_not_wait_for_a_batchlab_that_is_busy(
    start: Callable, tmp_path: Path
) -> None:
    """Its pieces have the time at which they were written, however late they are received."""
    started = start("import os\nfor _ in range(80): os.write(1, b'.' * 65536)\nopen('done', 'w')")
    while not (tmp_path / "done").exists():  # nobody receives meanwhile
        time.sleep(0.002)
    time.sleep(0.15)
    received_s = time.monotonic()

    assert ended(started).status == Status.OK
    assert len(started.text) == 80 * 65536
    assert max(at_s for _, at_s in started.pieces) < received_s - 0.1


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("no-such-command", "x"), "the command no-such-command was not found"),
        (("./data.txt",), "./data.txt cannot be executed (Permission denied); name the program"),
        (("./words",), "./words cannot be executed (Exec format error)"),
        (("./orphan.py",), "the program named in its first line was not found"),
        (("sh", "-c", "exit 3"), "sh -c ended with exit code 3: it printed nothing"),
        (("sh", "-c", "echo no data >&2; exit 2"), "exit code 2: no data"),
        (("sh", "-c", "(kill -SEGV $BASHPID); exit 139"), "without a result (SIGSEGV)"),
        ("input()", "asks for input and nobody is there to answer"),
        ("import getpass; getpass.getpass()", "asks for input and nobody is there to answer"),
        ("import termios; termios.tcgetattr(0)", "wants a terminal, and here is none (termios"),
        # What failed was its own next line.
        (
            "import os; os.popen('stty size').read().split()[1]",
            "none (stty: 'standard input': Inappropriate ioctl for device); have it do without one "
            "where its output is no terminal. Its last line: IndexError: list index",
        ),
    ],
)
def test_a_command_that_cannot_start_or_fails_at_once_is_told_in_one_line(
    command: str | tuple[str, ...], says: str, start: Callable, tmp_path: Path
) -> None:
    (tmp_path / "data.txt").write_text("1,2")
    (tmp_path / "words").write_text("words")
    (tmp_path / "orphan.py").write_text("#!/no/such/python\n")
    for name in ("words", "orphan.py"):
        (tmp_path / name).chmod(stat.S_IRWXU)

    end = ended(start(command))

    assert not end.status.ended_well
    assert says in why(end)
    assert "\n" not in why(end)


def test_a_working_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with launched_in(tmp_path / "nowhere", "true", folder=tmp_path, marker="nowhere/1") as launched:
        end = launched.wait(30)

    assert f"could not be started: No such file or directory: {tmp_path}/nowhere" in why(end)
