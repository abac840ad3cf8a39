"""Lattice: batch sizes and learning rates, the rates on octaves of the reference's."""

from __future__ import annotations

import math
from dataclasses import dataclass

from batchlab.advice.run_log import CellKey
from batchlab.engines.contract import Engine

Place = tuple[int, int]
"""Batch size, and octaves above the reference rate."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """The places that an engine can train at.

    Attributes:
        reference_rate: octave 0.
        engine: some have certain rates only.
    """

    reference_rate: float
    engine: Engine

    def cell(self, place: Place) -> CellKey:
        """Batch size and learning rate."""
        return place[0], self.reference_rate * math.exp2(place[1])

    def beside(self, place: Place, octaves: int) -> Place | None:
        """The rate so many octaves away; None: the engine has none there."""
        wanted = place[1] + octaves
        return (place[0], wanted) if self.known_octave(place[0], wanted) == wanted else None

    def as_scaled(self, place: Place, batch_size: int) -> Place:
        """Another batch size at the rate of the square-root rule, to an octave."""
        octave = place[1] + round(math.log2(batch_size / place[0]) / 2)
        return batch_size, self.known_octave(batch_size, octave)

    def known_octave(self, batch_size: int, octave: int) -> int:
        """The octave nearest to the one wanted that the engine has."""
        rates = self.engine.learning_rates(batch_size)
        if rates is None:
            return octave
        known = {round(math.log2(rate / self.reference_rate)) for rate in rates}
        return min(known, key=lambda other: (abs(other - octave), other))
