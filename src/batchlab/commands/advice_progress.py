"""AdviceProgress: tells a listener at which stage an advice is, by the runs that it asks for."""

from __future__ import annotations

from collections.abc import Sequence

from batchlab.advice.best_so_far import best_so_far
from batchlab.advice.parts import Purpose
from batchlab.advice.run_log import RunLog
from batchlab.commands.advice_request import AdviceRequest
from batchlab.engines.journal import Journal
from batchlab.profiling.measuring import PROFILING
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.runs_asked import RunsAsked
from batchlab.words.catalogue import text

TARGET = "setting the target"
SEARCH = "comparing batch sizes"
VERIFY = "verifying on fresh seeds"
_OF_PURPOSE: dict[Purpose, str] = {
    "pilot": TARGET,
    "tune": SEARCH,
    "value": SEARCH,
    "verify": VERIFY,
    "cool_down": VERIFY,
}


def stages_of(asked: AdviceRequest) -> Sequence[str]:
    """The stages of an advice, in order; a pilot is needed where no target is given."""
    needs_pilot = asked.target is None and asked.objective != "quality"
    stages = (PROFILING, *((TARGET,) if needs_pilot else ()), SEARCH, VERIFY)
    return [text(stage) for stage in stages]


class AdviceProgress:
    """Tells a listener of stages, runs and what leads (a `RunWatcher`)."""

    def __init__(self, listener: ProgressListener, journal: Journal | None = None) -> None:
        """Nothing is asked for yet.

        Args:
            listener: told of stages, runs and what leads.
            journal: keeps what leads for who looks into the store; None: nobody does.
        """
        self._listener = listener
        self._journal = journal
        self._stage = ""

    def asked(self, runs: RunsAsked, purpose: Purpose) -> None:
        """Tell of a new stage, and of the runs."""
        # A decision that is verified is repeated at a harder target.
        is_last_check = runs.why.code == "harder_target_decided_too"
        stage = text(VERIFY if is_last_check else _OF_PURPOSE[purpose])
        if stage != self._stage:
            self._stage = stage
            self._listener.phase(stage)
        self._listener.asked(runs)

    def answered(self, run_log: RunLog) -> None:
        """Tell what leads by now."""
        best = best_so_far(run_log)
        self._listener.best(best)
        if self._journal is not None:
            self._journal.note_best(best)
