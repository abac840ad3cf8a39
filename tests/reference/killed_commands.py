"""Random kills of a command, of the batchlab that started it, or of both; and what is left then."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

from tests.reference.living import command_line, kill, living

from batchlab.script.process import end_marked

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


def assert_no_kill_leaves_a_process(folder: Path, *, seed: int, kills: int) -> None:
    """Kill so many times at random moments and look each time."""
    print(f"seed {seed}")
    draw = random.Random(seed)
    for turn in range(kills):
        # The first ones so that each kind is there in a short list of turns.
        victim = VICTIMS[turn] if turn < len(VICTIMS) else draw.choice(VICTIMS)
        study = f"killed-{os.getpid()}-{time.monotonic_ns()}"
        place = f"seed {seed}, turn {turn}, {victim}"
        (folder / study).mkdir()
        _kill_once(folder / study, study, victim, draw, place)


def _kill_once(folder: Path, study: str, victim: str, draw: random.Random, place: str) -> None:
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
            _end_both(study)
        until_s = time.monotonic() + WITHIN_S
        while (left := living(study)) and time.monotonic() < until_s:
            time.sleep(0.01)
        assert left == (), f"{place}: {list(map(command_line, left))}"
    finally:
        batchlab.kill()
        batchlab.wait()
        batchlab.stdout.close()  # type: ignore[union-attr]
        _end_both(study)


def _end_both(study: str) -> None:
    for name in ("a", "b"):
        end_marked(f"{study}/{name}")
