"""No process of a command is left, and what is a stranger's is left alone."""

import os
import random
import subprocess
import sys
import uuid

import psutil
import pytest
from tests.reference.by_day import by_day
from tests.reference.killed_commands import assert_no_kill_leaves_a_process

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


@pytest.mark.slow
@pytest.mark.parametrize("kills", by_day([3, 200], [3]))
def test_kills_of_trial_and_batchlab_at_random_moments_leave_no_process(kills, tmp_path):
    assert_no_kill_leaves_a_process(tmp_path, seed=random.randrange(10**6), kills=kills)
