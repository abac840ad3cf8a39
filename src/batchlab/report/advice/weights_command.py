"""WeightsCommand: the command that writes the model an advice has trained, whole, to be copied."""

from __future__ import annotations

import shlex

from batchlab.records.study import Study
from batchlab.report.parts.stored_command import StoredCommand

_ID_CHARACTERS = 8  # enough of an id where a store has a million studies


def weights_command(study: Study) -> str:
    """The command for this very study, with its store where one was named on the command line."""
    stored = StoredCommand.of(study.command)
    path = None if stored is None else stored.value("--store")
    store = [] if path is None else ["--store", path]
    return shlex.join(["batchlab", "weights", *store, "--study", study.study_id[:_ID_CHARACTERS]])
