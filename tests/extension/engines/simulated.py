"""simulated: an engine whose truth is a formula."""

from __future__ import annotations

from batchlab.engines.contract import Capabilities
from batchlab.engines.engine_row import EngineRow

ROW = EngineRow(
    name="simulated",
    description="answers from a law with scatter",
    module="tests.reference.simulated_engine",
    class_name="SimulatedEngine",
    capabilities=Capabilities(
        resumes=True,
        any_learning_rate=True,
        any_seed=True,
        side_by_side=True,
        in_process_metrics=False,
        keeps_cadence=True,
        cools_down=True,
    ),
)
