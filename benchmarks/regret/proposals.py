"""Proposals: what a search tries next, drawn evenly or by TPE."""

from __future__ import annotations

import math
import random
from typing import Any, Protocol

from batchlab.engines.recorded_grid import CellKey

from .whole_situation import WholeSituation

# Rates from about two decades below the reference rate to two above it are drawn.
USUAL_OCTAVES = 6
# A run that was stopped counts as slower than any that was not.
_STOPPED = 1e9


class Proposals(Protocol):
    """Proposes configurations, one after the other, and hears how long each took."""

    def ask(self) -> CellKey:
        """A batch size of the grid, and a rate that may not have been recorded."""

    def tell(self, seconds: float) -> None:
        """How long what was asked for last takes to the level; infinite: it was stopped."""


class Even:
    """Batch sizes and octaves drawn evenly."""

    def __init__(self, situation: WholeSituation, seed: int) -> None:
        self._situation = situation
        self._stream = random.Random(seed)

    def ask(self) -> CellKey:
        """Any of them."""
        octave = self._stream.randint(-USUAL_OCTAVES, USUAL_OCTAVES)
        sizes = self._situation.grid.batch_sizes
        return self._stream.choice(sizes), self._situation.reference[1] * 2.0**octave

    def tell(self, seconds: float) -> None:
        """Nothing is learned."""


class Tpe:
    """The tree-structured Parzen estimator of Optuna, over the doublings of both.

    Source: Bergstra et al. 2011, "Algorithms for hyper-parameter optimization".

    Optuna is no dependency of batchlab: `pip install optuna` (5.0 was used) where this is run.
    """

    def __init__(self, situation: WholeSituation, seed: int) -> None:
        import optuna  # type: ignore[import-not-found,unused-ignore]

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._situation = situation
        last = len(situation.grid.batch_sizes) - 1
        self._space: dict[str, Any] = {
            "place": optuna.distributions.IntDistribution(0, last),
            "octave": optuna.distributions.IntDistribution(-USUAL_OCTAVES, USUAL_OCTAVES),
        }
        self._study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
        self._trial: Any = None

    def ask(self) -> CellKey:
        """One of those that are likely to be among the fastest."""
        self._trial = self._study.ask(self._space)
        found = self._trial.params
        size = self._situation.grid.batch_sizes[found["place"]]
        return size, self._situation.reference[1] * 2.0 ** found["octave"]

    def tell(self, seconds: float) -> None:
        """Learn from it; stopped is slower than anything."""
        self._study.tell(self._trial, math.log(seconds) if math.isfinite(seconds) else _STOPPED)
