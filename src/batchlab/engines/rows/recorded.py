"""recorded: answers from trainings that were recorded before, at step times of one's own."""

from __future__ import annotations

from batchlab.engines.contract import Capabilities
from batchlab.engines.engine_row import EngineRow

ROW = EngineRow(
    name="recorded",
    description="answers from trainings that were recorded before, at step times of one's own",
    module="batchlab.engines.recorded",
    class_name="RecordedEngine",
    capabilities=Capabilities(
        resumes=True,
        any_learning_rate=False,
        any_seed=False,
        side_by_side=False,
        in_process_metrics=False,
        keeps_cadence=False,
        cools_down=False,
    ),
)
