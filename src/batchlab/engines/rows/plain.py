"""plain: trains on this machine in child processes: ordinary PyTorch, ordinary loop."""

from __future__ import annotations

from batchlab.engines.contract import Capabilities
from batchlab.engines.engine_row import EngineRow

ROW = EngineRow(
    name="plain",
    description="trains on this machine in child processes: ordinary PyTorch, ordinary loop",
    module="batchlab.engines.local_processes",
    class_name="LocalProcesses",
    capabilities=Capabilities(
        resumes=True,
        any_learning_rate=True,
        any_seed=True,
        side_by_side=True,
        in_process_metrics=True,
        keeps_cadence=True,
        cools_down=True,
    ),
)
