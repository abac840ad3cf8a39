"""Before any test: one thread a process, for the tests themselves run side by side."""

import gc
import os
import signal
import sys
from collections import Counter, defaultdict
from importlib import import_module
from itertools import chain, takewhile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Read by torch when it is imported, here and in the processes that tests start. Two threads each
# on a busy machine wait for one another, and a test of a second then takes a minute.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What pages and builds keep for the next process is kept for the tests alone.
os.environ["XDG_CACHE_HOME"] = str(Path(__file__).parents[1] / ".pytest_cache")
# In the background (`nohup scripts/test &`) Ctrl-C is ignored, and what tests start would inherit
# that: they could not be interrupted.
signal.signal(signal.SIGINT, signal.default_int_handler)

# An example that takes long says how busy the machine is.
settings.register_profile("batchlab", deadline=None)
settings.load_profile("batchlab")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is for the night, unless it is asked for by its marker."""
    if "nightly" in (config.getoption("-m") or ""):
        return
    left_out = [item for item in items if item.get_closest_marker("nightly")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("nightly")]


def pytest_collection_finish():
    """Take what is loaded out of garbage collection: torch's modules cost it 0.1 s each time."""
    if "torch" in sys.modules:
        import_module("torch._dynamo")  # the first optimizer does so, too late
        gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How long the tests of each room took, over all workers, the longest first."""
    spent_s: Counter[str] = Counter()
    tests: dict[str, set[str]] = defaultdict(set)
    for report in chain.from_iterable(terminalreporter.stats.values()):
        if isinstance(report, pytest.TestReport):
            room = Path(report.nodeid.partition("::")[0]).parts[1]
            spent_s[room] += report.duration
            tests[room].add(report.nodeid)
    if len(spent_s) > 1:
        terminalreporter.section("seconds a room")
        for room, seconds in spent_s.most_common():
            terminalreporter.line(f"{room:32} {len(tests[room]):5} tests {seconds:8.1f} s")


@pytest.fixture(autouse=True)
def imports_left_as_they_were():
    """What a test imports from its own folder is gone after it."""
    path, newest = list(sys.path), next(reversed(sys.modules))
    yield
    sys.path[:] = path
    for name in list(takewhile(lambda name: name != newest, reversed(sys.modules))):
        if "pytest-of" in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def children(monkeypatch):
    """The functions that child processes were started with, in order."""
    from batchlab.processes.children import Child

    started: list[str] = []
    start = Child.__init__

    def counted(self: Any, function: Any, *arguments: Any) -> None:
        started.append(function.__name__)
        start(self, function, *arguments)

    monkeypatch.setattr(Child, "__init__", counted)
    return started
