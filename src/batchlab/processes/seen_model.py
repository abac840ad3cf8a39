"""SeenModel: a child makes a workload's model once, for its identity.

In this process a model that ends it, or takes all memory, would take the command with it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from batchlab.errors import WorkloadError
from batchlab.processes.children import Line, run_in_child
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.workload.loading import LoadedWorkload, with_model
from batchlab.workload.made_model import MadeModel, made_model


def with_seen_model(loaded: LoadedWorkload, *, timeout_s: float) -> LoadedWorkload:
    """The same workload, known by its model too.

    Args:
        loaded: as it was loaded.
        timeout_s: seconds after which the model is left out.

    Returns:
        It as it was where its model cannot be made: the check of the workload says why.

    Raises:
        EditedError: files of its were edited meanwhile.
    """
    try:
        packed = PackedWorkload(
            replace(loaded.workload, train=(), validation=None, test=None), files=loaded.files
        )
    except WorkloadError:
        return loaded
    ended = run_in_child(see_model, packed, loaded.folder, timeout_s=timeout_s)
    return with_model(loaded, ended.value) if isinstance(ended.value, MadeModel) else loaded


def see_model(line: Line, packed: PackedWorkload, folder: Path | None) -> MadeModel:
    """What the child does."""
    return made_model(packed.unpack(), folder or Path.cwd())
