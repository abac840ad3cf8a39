"""What was named, valued on the seeds that judge."""

from __future__ import annotations

import math

from batchlab.engines.recorded_grid import CellKey

from .whole_situation import WholeSituation
from .whole_table import WholeAnswer


def valued(
    drawn: WholeSituation,
    cell: CellKey | None,
    *,
    draw: int,
    who: str,
    tuned_trainings: float,
    named_as: str,
    verdict: str,
    origin: str,
    spent: float,
    problem: str,
) -> WholeAnswer:
    """The answer with what it is worth; the arguments are its fields.

    Args:
        drawn: the situation that was asked about.
        cell: what was named, the reference where nothing was; None: it was not recorded.
        draw: see `WholeAnswer`, as for the others.
        who: the advice, or a habit.
        tuned_trainings: the budget.
        named_as: as what it was named.
        verdict: of the advice.
        origin: of its level.
        spent: of the budget, a fraction.
        problem: the error that it ended with, if any.
    """
    budget_s = tuned_trainings * drawn.tuned_reference_s
    time_s = math.inf if cell is None else drawn.time_s(cell, drawn.judging)
    reference_s = drawn.time_s(drawn.reference, drawn.judging)
    return WholeAnswer(
        workload=drawn.header.workload,
        profile=drawn.profile,
        draw=draw,
        who=who,
        tuned_trainings=tuned_trainings,
        whole_trainings=budget_s / drawn.whole_reference_s,
        batch_size=None if cell is None else cell[0],
        learning_rate=None if cell is None else cell[1],
        named_as=named_as,
        verdict=verdict,
        origin=origin,
        regret=drawn.regret(cell),
        of_reference=1.0 if time_s == reference_s else time_s / reference_s,
        shortfall=math.inf if cell is None else drawn.shortfall(cell, drawn.judging),
        shortfall_of_own=math.inf if cell is None else drawn.shortfall_of_own(cell, drawn.judging),
        shortfall_error=0.0 if cell is None else drawn.shortfall_error(cell, drawn.judging),
        is_optimum=cell == drawn.optimum,
        spent=spent,
        problem=problem,
    )
