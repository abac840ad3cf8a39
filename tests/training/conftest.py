"""Libraries in C are built in a tenth of a second, and kept for the next run of the tests."""

import os
from itertools import chain

import pytest

from batchlab.training.native import build

SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.fixture
def quickly(monkeypatch):
    """The compiler does not optimise: the C is the same. With sanitizers if `scripts/sanitized`.

    It has more time, because tests run side by side.
    """
    monkeypatch.setattr(build, "COMPILER_S", 60.0)
    quick = ("-O1", "-g", *SANITIZERS) if os.environ.get("NATIVE_SANITIZED") else ("-O0",)
    flags = [(quick if flag == "-O2" else (flag,)) for flag in build.FLAGS]
    monkeypatch.setattr(build, "FLAGS", tuple(chain.from_iterable(flags)))
