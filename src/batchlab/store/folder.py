"""StoreFolder: the files beside a store: checkpoints of trials, and locks of who works on what."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batchlab.errors import StoreError
from batchlab.store.connection import StoreConnection


def _at_work(study_id: str) -> str:
    return f"at-work-{study_id}.lock"


class StoreFolder(StoreConnection):
    """The folder beside a store."""

    def checkpoint_path(self, trial_id: str) -> Path:
        """Where the checkpoint of a trial belongs; its folder is there, the file may not be."""
        return self._beside(f"{trial_id}.safetensors")

    def trial_folder(self, trial_id: str) -> Path:
        """Where a trial that is a command of its own writes what it likes; made by who uses it."""
        return self.path.with_name(f"{self.path.name}.trials") / trial_id

    @contextmanager
    def claim(self, trial_id: str) -> Iterator[bool]:
        """Claim a trial for this process: True if it is ours now, False if another has it.

        The claim ends with the block, or with the process however it ends, so none is ever stale.
        A child made by a bare fork inside the block shares the claim.
        """
        with self._locked(f"{trial_id}.lock", fcntl.LOCK_EX | fcntl.LOCK_NB) as is_ours:
            yield is_ours

    @contextmanager
    def working_on(self, study_id: str) -> Iterator[None]:
        """Tell everyone, for as long as the block lasts, that this process works on a study.

        Several may at once. It ends with the process too, however that ends.
        """
        with self._locked(_at_work(study_id), fcntl.LOCK_SH):
            yield

    def is_worked_on(self, study_id: str) -> bool:
        """Whether a process of this machine works on a study right now."""
        if not (self._folder / _at_work(study_id)).exists():
            return False  # who only looks makes no files
        with self._locked(_at_work(study_id), fcntl.LOCK_EX | fcntl.LOCK_NB) as is_free:
            return not is_free

    @contextmanager
    def _locked(self, name: str, how: int) -> Iterator[bool]:
        path = self._beside(name)
        try:
            # Opened anew each time: flock is between open files, so it also holds inside a process.
            file = path.open("ab")
        except OSError as error:
            raise self._beside_error(path, error) from error
        with file:
            try:
                fcntl.flock(file, how)
                is_held = True
            except BlockingIOError:
                is_held = False
            except OSError as error:
                raise self._beside_error(path, error) from error
            yield is_held

    @property
    def _folder(self) -> Path:
        return self.path.with_name(f"{self.path.name}.checkpoints")

    def _beside(self, name: str) -> Path:
        try:
            self._folder.mkdir(exist_ok=True)
        except OSError as error:
            raise self._beside_error(self._folder, error) from error
        return self._folder / name

    def _beside_error(self, path: Path, error: OSError) -> StoreError:
        return StoreError(
            f"{path} cannot be made ({error.strerror}); see that the folder of the store can be "
            "written to and has space"
        )
