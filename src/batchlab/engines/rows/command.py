"""command: runs somebody's own training command and follows its progress."""

from __future__ import annotations

from batchlab.engines.contract import Capabilities
from batchlab.engines.engine_row import EngineRow

ROW = EngineRow(
    name="command",
    description="runs your own training command and follows its progress",
    module="batchlab.engines.commanded",
    class_name="CommandEngine",
    capabilities=Capabilities(
        resumes=False,
        any_learning_rate=True,
        any_seed=True,
        side_by_side=False,
        in_process_metrics=False,
        keeps_cadence=False,
        cools_down=False,
    ),
)
