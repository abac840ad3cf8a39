from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator

import pytest

from batchlab.script.process import MARK, OWNER, end_leftovers, end_marked, living, marks

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
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        return process

    yield one

    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]


def dead_owner() -> str:
    gone = subprocess.Popen(["true"])
    gone.wait()
    return f"{gone.pid}:{time.time():.2f}"


def own_mark() -> str:
    return marks("a/b")[OWNER]


def test_what_a_dead_batchlab_left_is_ended(study: str, run: Callable) -> None:
    left = run(owner=dead_owner())

    assert end_leftovers(study) == 1
    assert left.wait(10) == -15


def test_what_ignores_sigterm_is_killed_after_the_grace(study: str, run: Callable) -> None:
    left = run(owner=dead_owner(), code=IGNORES_SIGTERM + SLEEPS)
    began_s = time.monotonic()

    end_leftovers(study, grace_s=0.2)

    assert time.monotonic() - began_s >= 0.2
    assert left.wait(10) == -9


def test_what_a_living_batchlab_trains_is_left_alone(study: str, run: Callable) -> None:
    other = run(owner=own_mark())

    assert end_leftovers(study) == 0
    assert other.poll() is None
    assert living(study) == (other.pid,)


def test_a_process_that_has_the_number_of_a_dead_batchlab_is_no_owner(
    study: str, run: Callable
) -> None:
    pid, _, started_s = own_mark().partition(":")
    run(owner=f"{pid}:{float(started_s) - 100:.2f}")

    assert end_leftovers(study) == 1


@pytest.mark.parametrize("owner", ["", "x:y", "12"])
def test_a_mark_that_is_not_understood_ends_nothing(owner: str, study: str, run: Callable) -> None:
    process = run(owner=owner)

    assert end_leftovers(study) == 0
    assert process.poll() is None


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
