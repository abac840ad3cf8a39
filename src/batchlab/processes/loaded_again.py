"""LoadedAgain: a workload too large to hand over, which a child loads anew from its file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from batchlab.errors import EditedError
from batchlab.records.trial import Setting
from batchlab.workload.definition import Workload
from batchlab.workload.loading import LoadedWorkload, load_workload
from batchlab.workload.source import SourceFile


def check_unedited(files: Iterable[SourceFile]) -> None:
    """Refuse to train with files that are not those which the workload is known by.

    Raises:
        EditedError: naming the first that was edited, moved or deleted.
    """
    for file in files:
        if not file.is_unchanged():
            raise EditedError(
                f"{Path(file.path).name} was edited since this study began; give the same command "
                f"again: it begins anew with {file.path} as it is then"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedAgain:
    """How to load a workload once more, and who it must be.

    Attributes:
        reference: `file.py:name`, with the whole path.
        settings: all settings and the values used.
        loaded_id: what it must be known by.
    """

    reference: str
    settings: tuple[tuple[str, Setting], ...]
    loaded_id: str

    @classmethod
    def of(cls, loaded: LoadedWorkload) -> LoadedAgain | None:
        """How to load it once more; None: it comes from no file."""
        path, colon, name = loaded.reference.rpartition(":")
        if not colon or not Path(path).is_file():
            return None
        return cls(
            reference=f"{Path(path).resolve()}:{name}",
            settings=loaded.settings,
            loaded_id=loaded.loaded_id,
        )

    def workload(self) -> Workload:
        """The workload, loaded in this process.

        Raises:
            EditedError: it is another one by now.
        """
        loaded = load_workload(self.reference, dict(self.settings))
        if loaded.loaded_id != self.loaded_id:
            raise EditedError(
                f"{self.reference} made another workload when it was loaded again: its file or its "
                f"data changed meanwhile, or it draws random data without a seed; give it one"
            )
        return loaded.workload
