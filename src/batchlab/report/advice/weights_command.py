"""WeightsCommand: the command that writes the model an advice has trained, whole, to be copied."""

from __future__ import annotations

import shlex
from itertools import pairwise

from batchlab.records.study import Study

_ID_CHARACTERS = 8  # enough of an id where a store has a million studies


def weights_command(study: Study) -> str:
    """The command for this very study, with its store where one was named on the command line."""
    words = shlex.split(study.command) if study.command.startswith("batchlab ") else []
    stores = [
        following if word == "--store" else word.partition("=")[2]
        for word, following in pairwise([*words, ""])
        if word == "--store" or word.startswith("--store=")
    ]
    store = ["--store", stores[-1]] if stores else []
    return shlex.join(["batchlab", "weights", *store, "--study", study.study_id[:_ID_CHARACTERS]])
