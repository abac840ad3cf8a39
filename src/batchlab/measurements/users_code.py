"""UsersCode: an exception of the user's own function, told in one line with its place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from batchlab.errors import BatchlabError, WorkloadError
from batchlab.processes.memory import is_out_of_memory
from batchlab.workload.definition import Workload
from batchlab.workload.error_place import told


@contextmanager
def asking(workload: Workload, what: str) -> Iterator[None]:
    """Context: an exception of the user's function is told in one line, with its place.

    Raises:
        WorkloadError: naming `what` raised; memory that ran out is raised as it is.
    """
    try:
        yield
    except BatchlabError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise WorkloadError(f"workload {workload.name!r}: {what} raised {told(error)}") from error


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Context: the model in eval mode, without its dropout."""
    model.eval()
    try:
        yield
    finally:
        model.train()
