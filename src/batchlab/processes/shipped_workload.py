"""ShippedWorkload: a packed workload that can be sent to another machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from batchlab.errors import WorkloadError
from batchlab.processes.packed_workload import PackedWorkload, check_unedited
from batchlab.workload.source import SourceFile


@dataclass(frozen=True, kw_only=True, slots=True)
class ShippedWorkload:
    """A packed workload, with the files that are needed to unpack it.

    Attributes:
        packed: the packed workload, whose shared memory is pickled as an array of its bytes.
        files: the contents of the user's files that are imported or read during unpacking.
        in_place: files of memory maps, not sent; each machine must have equal files at these paths.
        import_from: folders of Python's module search path that contain some of the files.
        folder: the current folder, because code may open files by paths relative to this folder.
    """

    packed: PackedWorkload
    files: tuple[bytes, ...]
    in_place: tuple[SourceFile, ...]
    import_from: tuple[str, ...]
    folder: str

    @classmethod
    def of(cls, packed: PackedWorkload) -> ShippedWorkload:
        """Collect everything that another machine needs to unpack a packed workload.

        Raises:
            EditedError: a file was edited, moved or deleted.
        """
        check_unedited(packed.files)
        files = tuple(Path(file.path).read_bytes() for file in packed.files)
        check_unedited(packed.files)  # Check again: a user may edit a file while it is read.
        return cls(
            packed=packed,
            files=files,
            in_place=tuple(map(SourceFile.now, packed.read_in_place)),
            import_from=_imported_from(packed.files),
            folder=os.getcwd(),
        )

    def arrived(self, new_folder: Path) -> PackedWorkload:
        """Return the workload, and let this process import its files.

        If this machine has all files, with equal paths and contents (in a shared folder), use them.
        Otherwise, write all files below `new_folder`.

        Raises:
            WorkloadError: this machine lacks a file of `in_place`, or the file's content differs.
        """
        for file in self.in_place:
            if not file.is_unchanged():
                here = "another file" if Path(file.path).exists() else "no such file"
                raise WorkloadError(
                    f"{file.path}: the workload's data stay in this file, and here is {here}; put "
                    f"it at the same path on each node (rsync -t keeps its time), or hold the data "
                    f"in memory"
                )
        root: Path | None = None
        are_here = all(file.is_unchanged() for file in self.packed.files)
        if not (are_here and Path(self.folder).is_dir()):
            root = new_folder
            self.packed.files = self._written_below(root)
        sys.path[:0] = [_below(root, folder) for folder in self.import_from]
        Path(_below(root, self.folder)).mkdir(parents=True, exist_ok=True)
        os.chdir(_below(root, self.folder))
        return self.packed

    def _written_below(self, folder: Path) -> tuple[SourceFile, ...]:
        written = []
        for file, content in zip(self.packed.files, self.files, strict=True):
            path = Path(_below(folder, file.path))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            written.append(SourceFile.now(path))
        return tuple(written)


def _below(root: Path | None, path: str) -> str:
    return path if root is None else str(root / path.lstrip("/"))


def _imported_from(files: Iterable[SourceFile]) -> tuple[str, ...]:
    """Return the folders of Python's module search path that contain some of the files."""
    places = [Path(file.path) for file in files if file.path.endswith(".py")]
    folders: dict[str, None] = {}  # a dict, because a set would not keep the order
    for entry in sys.path:
        folder = Path(entry).resolve()
        if any(place.is_relative_to(folder) for place in places):
            folders[str(folder)] = None
    return tuple(folders)
