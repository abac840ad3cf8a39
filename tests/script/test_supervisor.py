"""No process of a command is left, and what is a stranger's is left alone."""

import os
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from tests.reference.killed_commands import assert_no_kill_leaves_a_process
from tests.reference.living import living

from batchlab.script import supervisor
from batchlab.script.process import MARK, OWNER, end_leftovers, end_marked, marks

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_descendants_are_those_that_psutil_finds(start: Callable, tmp_path: Path) -> None:
    """The name of a program may hold anything."""
    strange = tmp_path / "a) R 1 ("
    strange.symlink_to("/bin/sleep")
    started = start(
        "import os, subprocess, time\n"
        "subprocess.Popen(['./a) R 1 (', '600'])\n"
        "for generation in range(2):\n"
        "    if os.fork(): os.fork()\n"
        "print('forked', flush=True); time.sleep(600)"
    )
    while started.text.count("forked") < 9:
        started.launched.wait(0.01)
    root = started.launched._supervisor.pid

    found = supervisor.descendants(root)

    children = psutil.Process(root).children(recursive=True)
    assert sorted(found) == sorted(child.pid for child in children)
    assert len(found) == 9 + 1
    assert len({*found.values()}) == 1  # one group


def test_it_loads_little() -> None:
    # Its start is time that every trial waits.
    loaded = subprocess.run(
        [
            *(sys.executable, "-I", "-S", "-E", "-c"),
            "import sys; exec(open(sys.argv[1]).read(), {'__name__': 'it'}); print(*sys.modules)",
            supervisor.__file__,
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()

    assert not {"typing", "re", "subprocess", "json", "batchlab", "site"} & {*loaded}


@pytest.mark.slow
def test_unread_output_makes_the_command_wait_rather_than_fill_memory(start, tmp_path) -> None:
    started = start(
        "import os\nwritten = open('written', 'wb', buffering=0)\nfor _ in range(600):\n"
        "    os.write(1, b'.' * 100_000); written.write(b'.')"
    )

    def n_written() -> int:
        file = tmp_path / "written"
        return file.stat().st_size if file.exists() else 0

    while n_written() < 100:
        time.sleep(0.005)  # nobody receives meanwhile
    seen = -1
    while seen != (seen := n_written()):
        time.sleep(0.2)

    assert psutil.Process(started.launched._supervisor.pid).memory_info().rss < 60_000_000
    assert seen < 300
    assert started.launched.wait(30).exit_code == 0
    assert len(started.text) == 60_000_000


SLEEPS = "import time; print('here', flush=True); time.sleep(600)"
IGNORES_SIGTERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
STUDY = f"tree-{uuid.uuid4().hex}"
OWN = marks("a/b")[OWNER]


def dead_owner() -> str:
    gone = subprocess.Popen(["true"])
    gone.wait()
    return f"{gone.pid}:{time.time():.2f}"


def earlier_owner() -> str:
    """One that had the number of this process before it."""
    pid, _, started_s = OWN.partition(":")
    return f"{pid}:{float(started_s) - 100:.2f}"


@pytest.fixture
def run() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []

    def one(owner: str, *, trial: str = "1", code: str = SLEEPS) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code],
            env={**os.environ, MARK: f"{STUDY}/{trial}", OWNER: owner},
            stdout=subprocess.PIPE,
        )
        processes.append(process)
        assert process.stdout.readline() == b"here\n"
        return process

    yield one

    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize(
    ("owner", "asked", "ends"),
    [
        (dead_owner, "{study}", -15),
        # What ignores SIGTERM is killed after a grace.
        (dead_owner, "{study}/trial", -9),
        (earlier_owner, "{study}", -15),
        # What a living batchlab trains, or has no clear mark, is left alone, ...
        (lambda: OWN, "{study}", None),
        (lambda: "", "{study}", None),
        (lambda: "x:y", "{study}", None),
        # ... and so is a study whose name begins alike.
        (dead_owner, "{study:.9}", None),
        (dead_owner, "{study}/tri", None),
    ],
)
def test_only_what_a_dead_batchlab_left_of_a_study_is_ended(owner, asked, ends, run) -> None:
    left = run(owner(), trial="trial", code=IGNORES_SIGTERM * (ends == -9) + SLEEPS)
    began_s = time.monotonic()

    assert end_leftovers(asked.format(study=STUDY), grace_s=0.2) == (ends is not None)
    assert ends != -9 or time.monotonic() - began_s >= 0.2
    assert (left.wait(10) if ends else left.poll()) == ends
    assert living(STUDY) == (() if ends else (left.pid,))


def test_all_of_one_trial_can_be_ended_whoever_owns_it(run: Callable) -> None:
    own, other = run(OWN, trial="1"), run(OWN, trial="2")

    assert end_marked(f"{STUDY}/1") == 1
    assert own.wait(10) == -9
    assert other.poll() is None


@pytest.mark.slow
def test_three_kills_of_trial_and_batchlab_at_random_moments_leave_no_process(tmp_path) -> None:
    # Two hundred in tests/nightly.
    assert_no_kill_leaves_a_process(tmp_path, seed=random.randrange(10**6), kills=3)
