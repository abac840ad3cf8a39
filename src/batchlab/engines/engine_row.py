"""EngineRow: an engine as a row of its registry, with what it can do."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

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
