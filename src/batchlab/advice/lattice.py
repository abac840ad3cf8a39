"""Lattice: batch sizes and learning rates, the rates on octaves of the reference's."""

from __future__ import annotations

import math
from dataclasses import dataclass

from batchlab.advice.run_log import CellKey, RunLog
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

    @classmethod
    def of(cls, run_log: RunLog) -> Lattice:
        """The lattice of a study."""
        return cls(run_log.question.reference.learning_rate, run_log.engine)

    def rate(self, octave: float) -> float:
        """The rate so many octaves above the reference rate."""
        return self.reference_rate * math.exp2(octave)

    def octave_of(self, rate: float) -> float:
        """How many octaves a rate lies above the reference rate."""
        return math.log2(rate / self.reference_rate)

    def cell(self, place: Place) -> CellKey:
        """Batch size and learning rate."""
        return place[0], self.rate(place[1])

    def beside(self, place: Place, octaves: int) -> Place | None:
        """The rate so many octaves away; None: the engine has none there."""
        wanted = place[1] + octaves
        return (place[0], wanted) if self.nearest(place[0], wanted) == wanted else None

    def as_scaled(self, place: Place, batch_size: int) -> Place:
        """Another batch size at the rate of the square-root rule, to an octave."""
        octave = place[1] + round(math.log2(batch_size / place[0]) / 2)
        return batch_size, self.nearest(batch_size, octave)

    def nearest(self, batch_size: int, octave: float) -> int:
        """The octave nearest to the one wanted; of two recorded ones as near, the lower."""
        rates = self.engine.learning_rates(batch_size)
        if rates is None:
            return round(octave)
        known = {round(self.octave_of(rate)) for rate in rates}
        return min(known, key=lambda other: (abs(other - octave), other))
