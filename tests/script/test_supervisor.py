from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from batchlab.script import supervisor

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
    assert {*found.values()} == {started.launched.pid}  # one group


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
