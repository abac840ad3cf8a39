"""The figures of an advice, from the answer to what it rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchlab.advice.advice import Advice
from batchlab.records.study import Study
from batchlab.report.advice.figures.head_to_head import head_to_head_figure
from batchlab.report.advice.figures.learning_rates import learning_rates_figure
from batchlab.report.advice.figures.machine import machine_figure
from batchlab.report.advice.figures.objective import objective_figure
from batchlab.report.advice.figures.progress import progress_figure
from batchlab.report.advice.figures.steps import steps_figure
from batchlab.report.parts.figure import Figure

if TYPE_CHECKING:
    from batchlab.profiling.profile import Profile


def advice_figures(advice: Advice, study: Study, profile: Profile | None) -> tuple[Figure, ...]:
    """All figures of an advice, in the order of the page.

    Args:
        advice: the advice.
        study: its runs.
        profile: where step times and memory are from; None: only what the advice says of them.
    """
    return (
        objective_figure(advice, study, key="a"),
        steps_figure(advice, study, key="b"),
        machine_figure(advice, study, profile, key="c"),
        learning_rates_figure(advice, study, key="d"),
        head_to_head_figure(advice, study, key="e"),
        progress_figure(advice, study, key="f"),
    )
