"""ENGINES: one row each, with what they can do; listing them loads none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Final

from batchlab.engines.contract import Capabilities, Engine


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineRow:
    """One engine of the registry.

    Attributes:
        name: as the records of its runs have it.
        description: what it does, for people.
        module: where its class is.
        class_name: its class there.
        capabilities: what it can do.
    """

    name: str
    description: str
    module: str
    class_name: str
    capabilities: Capabilities

    def load(self) -> type[Engine]:
        """Its class; only now is its module imported."""
        found: type[Engine] = getattr(import_module(self.module), self.class_name)
        return found


_ROWS = (
    EngineRow(
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
        ),
    ),
    EngineRow(
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
        ),
    ),
)
ENGINES: Final[Mapping[str, EngineRow]] = MappingProxyType({row.name: row for row in _ROWS})
