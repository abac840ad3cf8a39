"""The workload behind a recorded grid of whole trainings, by name, to train it anew."""

from __future__ import annotations

import sys
from pathlib import Path

from batchlab.workload.definition import Workload

# The recorded workloads import each other by their bare names, as the scripts beside them do.
sys.path.append(str(Path(__file__).parent / "regret"))

from regret.held_out_workloads import HELD_OUT
from regret.whole_workloads import WHOLE_WORKLOADS


def whole_workload(name: str) -> Workload:
    """The workload whose grid is `regret/whole/NAME.csv.gz`."""
    return {**WHOLE_WORKLOADS, **HELD_OUT}[name]()
