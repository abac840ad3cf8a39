"""SweepProgress: tells a listener at which stage a sweep is."""

from __future__ import annotations

from collections.abc import Sequence

from batchlab.records.progress_listener import ProgressListener
from batchlab.records.trial import Trial
from batchlab.words.catalogue import plural, text

_TIMING = "timing each batch size alone"


class SweepProgress:
    """Tells a listener at which stage a sweep is."""

    def __init__(self, listener: ProgressListener, trials: Sequence[Trial]) -> None:
        """The sweep of `trials` begins.

        Args:
            listener: is told.
            trials: all that are asked for; at least one.
        """
        self._listener = listener
        self._is_timing = False
        self._training = plural("training {n} trial", "training {n} trials", len(trials))
        listener.begins(
            command="sweep", subject=trials[0].workload, stages=(text(_TIMING), self._training)
        )

    def timing(self, trial: Trial) -> None:
        """The steps of a trial's batch size are timed now; what is trained is none yet."""
        if not self._is_timing:
            self._is_timing = True
            self._listener.phase(text(_TIMING))
        said = text("batch size {size}", size=trial.batch_size)
        self._listener.progress(done_fraction=0.0, left_s=None, text=said)

    def training(self) -> None:
        """The trials that are left are trained from here on."""
        self._listener.phase(self._training)
