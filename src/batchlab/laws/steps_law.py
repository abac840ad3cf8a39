"""StepsLaw: a law of steps to target by batch size as a row, and what fitting it gives."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from batchlab.laws.steps_to_target import StepsToTargetFit
from batchlab.records.estimate import Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class LawParameter:
    """One parameter of a law.

    Attributes:
        name: its key in JSON.
        quantity: the name in `batchlab.records.quantities` of what it is one of, such as a batch
            size or a number of steps: its unit, and how its numbers are written.
        label: the words before its number, which say of which law it is.
    """

    name: str
    quantity: str
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LawFit:
    """A law fitted to runs.

    Attributes:
        estimates: one a parameter of the law, in their order.
        residuals: log steps less the fitted curve's, one an observation; None where the target was
            not reached. None altogether: there is no curve.
    """

    estimates: tuple[Estimate, ...]
    residuals: tuple[float | None, ...] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class StepsLaw:
    """A law; each is a file in `batchlab.laws.rows`.

    Attributes:
        place: where it stands in a list of all laws; 0 is the law that decisions use.
        formula: steps to target, of the batch size B.
        parameters: what is told of it.
        n_fitted: how many numbers are fitted to the runs, with those that are not told.
        fit: fits it. It is given the fit of the law that decisions use, with its observations.
    """

    place: int
    formula: str
    parameters: tuple[LawParameter, ...]
    n_fitted: int
    fit: Callable[[StepsToTargetFit], LawFit]


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedLaw:
    """A row of the laws with its fit.

    Attributes:
        name: the row's.
        law: the row.
        found: its fit.
    """

    name: str
    law: StepsLaw
    found: LawFit

    @property
    def estimates(self) -> tuple[tuple[LawParameter, Estimate], ...]:
        """Each parameter with its estimate."""
        return tuple(zip(self.law.parameters, self.found.estimates, strict=True))

    @property
    def residual_sd(self) -> float | None:
        """Standard deviation of log steps from the curve, over the runs that reached the target.

        The numbers that were fitted are taken off the runs, so that a law with more of them is not
        closer for that alone. None: no curve, or not more runs than such numbers.
        """
        away = [value for value in self.found.residuals or () if value is not None]
        if len(away) <= self.law.n_fitted:
            return None
        return math.sqrt(sum(value**2 for value in away) / (len(away) - self.law.n_fitted))
