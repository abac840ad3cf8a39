"""Notebook: the way from a record to its view, so that the records themselves know no report."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchlab.advice.advice import Advice
    from batchlab.fitting.fit import PointsFit
    from batchlab.profiling.profile import Profile


def notebook_html(shown: Advice | Profile | PointsFit) -> str:
    """The record as a notebook shows it: a piece of HTML that needs nothing else."""
    from batchlab.report.notebook_view import notebook_view  # Jinja2 loads when it is needed

    return notebook_view(shown)
