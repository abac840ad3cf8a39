"""Before any test: one thread a process, for the tests themselves run side by side."""

from __future__ import annotations

import os

# Read by torch when it is imported, here and in the processes that tests start. Two threads each
# on a busy machine wait for one another, and a test of a second then takes a minute.
os.environ.setdefault("OMP_NUM_THREADS", "1")
