"""No process of a command is left, and what is a stranger's is left alone."""

from __future__ import annotations

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


def test_descendants_are_those_that_psutil_finds(start: Callable) -> None:
    started = start(
        "import os, time\n"
        "for generation in range(2):\n"
        "    if os.fork(): os.fork()\n"
        "print('forked', flush=True); time.sleep(600)"
    )
    while started.text.count("forked") < 9:
        started.launched.wait(0.01)
    root = started.launched._supervisor.pid

    found = supervisor.descendants(root)

    assert sorted(found) == sorted(
        child.pid for child in psutil.Process(root).children(recursive=True)
    )
    assert len(found) == 9
    assert len({*found.values()}) == 1  # one group


def test_a_name_of_a_program_may_hold_anything(tmp_path: Path) -> None:
    strange = tmp_path / "a) R 1 ("
    strange.symlink_to("/bin/sleep")
    process = subprocess.Popen([strange, "600"])

    try:
        assert process.pid in supervisor.descendants(os.getpid())
    finally:
        process.kill()
        process.wait()


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
def test_unread_output_makes_the_command_wait_rather_than_fill_memory(
    start: Callable, tmp_path: Path
) -> None:
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


@pytest.fixture
def study() -> Iterator[str]:
    study = f"tree-{uuid.uuid4().hex}"
    yield study
    for pid in living(study):
        os.kill(pid, 9)


@pytest.fixture
def run(study: str) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []

    def one(trial: str = "1", *, owner: str, code: str = SLEEPS) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code],
            env={**os.environ, MARK: f"{study}/{trial}", OWNER: owner},
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


def dead_owner() -> str:
    gone = subprocess.Popen(["true"])
    gone.wait()
    return f"{gone.pid}:{time.time():.2f}"


def own_mark() -> str:
    return marks("a/b")[OWNER]


@pytest.mark.parametrize(("code", "signal"), [("", 15), (IGNORES_SIGTERM, 9)])
def test_what_a_dead_batchlab_left_is_ended_after_a_grace(
    code: str, signal: int, study: str, run: Callable
) -> None:
    left = run(owner=dead_owner(), code=code + SLEEPS)
    began_s = time.monotonic()

    assert end_leftovers(study, grace_s=0.2) == 1
    assert left.wait(10) == -signal
    assert signal == 15 or time.monotonic() - began_s >= 0.2


@pytest.mark.parametrize("owner", [own_mark(), "", "x:y"], ids=["own", "none", "x:y"])
def test_what_a_living_batchlab_trains_or_has_no_clear_mark_is_left_alone(
    owner: str, study: str, run: Callable
) -> None:
    other = run(owner=owner)

    assert end_leftovers(study) == 0
    assert other.poll() is None
    assert living(study) == (other.pid,)


def test_a_process_that_has_the_number_of_a_dead_batchlab_is_no_owner(
    study: str, run: Callable
) -> None:
    pid, _, started_s = own_mark().partition(":")
    run(owner=f"{pid}:{float(started_s) - 100:.2f}")

    assert end_leftovers(study) == 1


def test_a_study_is_not_another_one_whose_name_begins_alike(study: str, run: Callable) -> None:
    run("trial", owner=dead_owner())

    assert end_leftovers(study[:-1]) == 0
    assert end_leftovers(f"{study}/tri") == 0
    assert end_leftovers(f"{study}/trial") == 1


def test_all_of_one_trial_can_be_ended_whoever_owns_it(study: str, run: Callable) -> None:
    own, other = run("1", owner=own_mark()), run("2", owner=own_mark())

    assert end_marked(f"{study}/1") == 1
    assert own.wait(10) == -9
    assert other.poll() is None


@pytest.mark.slow
def test_three_kills_of_trial_and_batchlab_at_random_moments_leave_no_process(
    tmp_path: Path,
) -> None:
    # Two hundred in tests/nightly.
    assert_no_kill_leaves_a_process(tmp_path, seed=random.randrange(10**6), kills=3)
