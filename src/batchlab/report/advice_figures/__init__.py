"""The figures of an advice, from the answer to what it rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchlab.advice.advice import Advice
from batchlab.report.advice_figures.head_to_head import head_to_head_figure
from batchlab.report.advice_figures.learning_rates import learning_rates_figure
from batchlab.report.advice_figures.machine import machine_figure
from batchlab.report.advice_figures.objective import objective_figure
from batchlab.report.advice_figures.progress import progress_figure
from batchlab.report.advice_figures.steps import steps_figure
from batchlab.report.figure import Figure
from batchlab.study import Study

if TYPE_CHECKING:
    from batchlab.profile_record import Profile


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
