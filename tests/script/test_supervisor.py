"""No process of a command is left, and what is a stranger's is left alone."""

import os
import random
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil
import pytest
from tests.reference.by_day import by_day
from tests.reference.living import command_line, kill, living

from batchlab.script import supervisor
from batchlab.script.process import MARK, end_marked

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_descendants_are_those_that_psutil_finds(start, tmp_path):
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


def test_it_loads_little():
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


def test_all_of_one_trial_can_be_ended_whoever_started_it():
    study = f"tree-{uuid.uuid4().hex}"
    own, other = (
        subprocess.Popen(["sleep", "600"], env={**os.environ, MARK: f"{study}/{trial}"})
        for trial in (1, 2)
    )

    end_marked(f"{study}/1")

    assert own.wait(10) == -9
    assert other.poll() is None
    other.kill()
    other.wait()


# Random kills of a command, of the batchlab that started it, or of both


# Two workers, one of them in a session of its own, and a daemon that ignores SIGTERM.
COMMAND = """
import os, signal, time
for i in range(3):
    if os.fork() == 0:
        if i: os.setsid()
        if i == 2:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if os.fork(): os._exit(0)
        time.sleep(600)
while True:
    print("step", flush=True)
    time.sleep(0.01)
"""
BATCHLAB = f"""
import os, select, sys
from pathlib import Path
from batchlab.script.process import Launched

study, folder = sys.argv[1], Path(sys.argv[2])
started = [
    Launched(
        [sys.executable, "-I", "-S", "-c", {COMMAND!r}], cwd=folder, environment=os.environ,
        folder=folder / name, marker=study + "/" + name, grace_s=0.05,
    )
    for name in ("a", "b")
]
print("ready", flush=True)
select.select([0], [], [])  # its stdin: closed, it ends all
for one in started:
    one.end()
for one in started:
    one.wait()
"""
WITHIN_S = 30.0
VICTIMS = ("trial", "batchlab", "both", "supervisor", "batchlab and supervisor")


def kill_once(folder: Path, study: str, victim: str, draw: random.Random, place: str) -> None:
    batchlab = subprocess.Popen(
        [sys.executable, "-c", BATCHLAB, study, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        if draw.random() < 0.7:
            assert batchlab.stdout.readline() == b"ready\n", place
            time.sleep(draw.uniform(0, 0.1))
        else:
            time.sleep(draw.uniform(0, 0.4))  # while it starts
        there = living(study)
        supervisors = [pid for pid in there if "supervisor.py" in command_line(pid)]
        others = [pid for pid in there if pid not in supervisors]
        if victim in ("trial", "both") and others:
            kill(draw.choice(others))
        if "supervisor" in victim and supervisors:
            kill(draw.choice(supervisors))
        if victim in ("batchlab", "both", "batchlab and supervisor"):
            batchlab.kill()
        batchlab.stdin.close()
        exit_code = batchlab.wait(WITHIN_S)
        if victim in ("trial", "supervisor"):
            assert exit_code == 0, place
        if victim == "batchlab and supervisor":
            end_both(study)
        until_s = time.monotonic() + WITHIN_S
        while (left := living(study)) and time.monotonic() < until_s:
            time.sleep(0.01)
        assert left == (), f"{place}: {list(map(command_line, left))}"
    finally:
        batchlab.kill()
        batchlab.wait()
        batchlab.stdout.close()  # type: ignore[union-attr]
        end_both(study)


def end_both(study: str) -> None:
    for name in ("a", "b"):
        end_marked(f"{study}/{name}")


@pytest.mark.slow
@pytest.mark.parametrize("kills", by_day([3, 200], [3]))
def test_kills_of_trial_and_batchlab_at_random_moments_leave_no_process(kills, tmp_path):
    seed = random.randrange(10**6)
    draw = random.Random(seed)
    for turn in range(kills):
        # The first ones so that each kind is there in a short list of turns.
        victim = VICTIMS[turn] if turn < len(VICTIMS) else draw.choice(VICTIMS)
        study = f"killed-{uuid.uuid4().hex}"
        (tmp_path / study).mkdir()
        kill_once(tmp_path / study, study, victim, draw, f"seed {seed}, turn {turn}, {victim}")
