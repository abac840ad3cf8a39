"""MadeModel: what a workload's model is and reads, seen by making it once.

A model may end its process or take all memory, so this is for child processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn
from torch.nn.parameter import is_lazy

from batchlab.random_state import seed_everything, untouched_randomness
from batchlab.workload.definition import Workload
from batchlab.workload.opened_files import OpenedFile, OpenedFiles

_SEED = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeModel:
    """What was seen of a model.

    Attributes:
        parts: names, shapes and types of its parameters and buffers. Their values are no part of
            it: the same seed draws others on another machine.
        opened: the files that were read while it was made.
    """

    parts: str
    opened: tuple[OpenedFile, ...]


def made_model(workload: Workload, folder: Path) -> MadeModel:
    """Call `workload.model` once.

    Args:
        workload: its data are not looked at.
        folder: what is read below it counts.

    Returns:
        What was seen; without parts where the model cannot be made, which the check tells.
    """
    heard = OpenedFiles()
    parts = ""
    with untouched_randomness(), heard.listening(in_children=True):
        seed_everything(_SEED)
        try:
            parts = _parts(workload.model())
        except Exception:
            parts = ""
    return MadeModel(parts=parts, opened=heard.below(folder))


def _parts(model: object) -> str:
    if not isinstance(model, nn.Module):
        return ""
    named = (*model.named_parameters(), *model.named_buffers())
    return "\n".join(
        f"{name} {part.dtype} {'lazy' if is_lazy(part) else tuple(part.shape)}"
        for name, part in named
    )
