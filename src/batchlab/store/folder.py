"""StoreFolder: the files beside a store: checkpoints of trials, and locks that claim them."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batchlab.errors import StoreError
from batchlab.store.connection import StoreConnection


class StoreFolder(StoreConnection):
    """The folder beside a store."""

    def checkpoint_path(self, trial_id: str) -> Path:
        """Where the checkpoint of a trial belongs; its folder is there, the file may not be."""
        with self._reading() as connection:
            row = connection.execute(
                "SELECT files_id FROM trials WHERE trial_id = ?", (trial_id,)
            ).fetchone()
        files_id = trial_id if row is None or row[0] is None else row[0]
        return self._beside(f"{files_id}.safetensors")

    @contextmanager
    def claim(self, trial_id: str) -> Iterator[bool]:
        """Claim a trial for this process: True if it is ours now, False if another has it.

        The claim ends with the block, or with the process however it ends, so none is ever stale.
        A child made by a bare fork inside the block shares the claim.
        """
        path = self._beside(f"{trial_id}.lock")
        try:
            # Opened anew each time: flock is between open files, so it also holds inside a process.
            file = path.open("ab")
        except OSError as error:
            raise self._beside_error(path, error) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                is_ours = True
            except BlockingIOError:
                is_ours = False
            except OSError as error:
                raise self._beside_error(path, error) from error
            yield is_ours

    def _beside(self, name: str) -> Path:
        folder = self.path.with_name(f"{self.path.name}.checkpoints")
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise self._beside_error(folder, error) from error
        return folder / name

    def _beside_error(self, path: Path, error: OSError) -> StoreError:
        return StoreError(
            f"{path} cannot be made ({error.strerror}); see that the folder of the store can be "
            "written to and has space"
        )
