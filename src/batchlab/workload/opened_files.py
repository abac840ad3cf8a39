"""OpenedFiles: the files beside a workload that its own code reads while it is made.

A configuration, weights to begin with, or a module whose name is put together at run time: the text
of the workload does not say which they are. Python tells of each file that it opens.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from batchlab.workload.source import is_library

_CODE = {".py", ".pyc"}
_CONFIGURATION = {".json", ".yaml", ".yml", ".toml", ".ini", ".cfg"}
_WEIGHTS = {".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".npz", ".npy"}
_COUNTED = _CODE | _CONFIGURATION | _WEIGHTS

# What calls the user's code while this listens.
_RUNNERS = {f"batchlab.workload.{name}" for name in ("user_file", "loading")}

_SAFETENSORS = re.compile(r"[^\s'\"`()\[\],;=]+\.safetensors\b")

# Whoever listens at the moment. Python's hook stays once it is there, so it is one for all.
_listening: list[OpenedFiles] = []
_is_heard = False


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedFile:
    """A file that was read.

    Attributes:
        name: its place in the folder, with slashes.
        path: the whole path.
        is_read_again: whether child processes read it too.
    """

    name: str
    path: Path
    is_read_again: bool

    @property
    def is_code(self) -> bool:
        """Whether it is a Python file."""
        return self.path.suffix == ".py"


class OpenedFiles:
    """Files of some kinds that are opened for reading while this listens."""

    def __init__(self, main: Path | None = None) -> None:
        """Nothing was opened yet; `main` is the file that is run, if one is."""
        self._main = None if main is None else str(main.resolve())
        self._is_read_again: dict[str, bool] = {}
        self._in_children = False

    @contextmanager
    def listening(self, *, in_children: bool = False) -> Iterator[None]:
        """Context: what is opened inside counts.

        Args:
            in_children: whether child processes run the same; modules they import in any case.
        """
        _hear_from_now_on()
        self._in_children = in_children
        _listening.append(self)
        try:
            yield
        finally:
            _listening.remove(self)

    def below(self, folder: Path) -> tuple[OpenedFile, ...]:
        """Those under a folder that are the user's own, by name; hidden folders are caches."""
        folder = folder.resolve()
        found: dict[str, OpenedFile] = {}
        for text, is_read_again in self._is_read_again.items():
            path = _text_of_code(Path(text))
            name = _place_in(folder, path)
            if name is None or not path.is_file() or is_library(path):
                continue
            again = is_read_again or (name in found and found[name].is_read_again)
            found[name] = OpenedFile(name=name, path=path, is_read_again=again)
        for file in list(found.values()):
            found |= _weights_beside(file, folder)
        return tuple(found[name] for name in sorted(found))

    def _opened(self, path: str) -> None:
        again = self._in_children or self._is_importing()
        self._is_read_again[path] = self._is_read_again.get(path, False) or again

    def _is_importing(self) -> bool:
        """Whether a module of another file is being run, which child processes import as well."""
        frame: FrameType | None = sys._getframe(3)  # that which opens
        while frame is not None and frame.f_globals.get("__name__") not in _RUNNERS:
            if frame.f_code.co_name == "<module>" and frame.f_code.co_filename != self._main:
                return True
            frame = frame.f_back
        return False


def named_weights(folder: Path, text: str) -> tuple[OpenedFile, ...]:
    """The `.safetensors` under a folder that a text names: their library opens them unheard.

    Args:
        folder: which relative names begin at.
        text: of a workload's source and its settings.
    """
    folder = folder.resolve()
    found = []
    for named in sorted(set(_SAFETENSORS.findall(text))):
        path = folder / named
        name = _place_in(folder, path)
        if name is not None and path.is_file():
            found.append(OpenedFile(name=name, path=path, is_read_again=True))
    return tuple(found)


def _weights_beside(file: OpenedFile, folder: Path) -> dict[str, OpenedFile]:
    """Those in the folder of a saved model, whose configuration was read."""
    if file.path.suffix not in _CONFIGURATION or file.path.resolve().parent == folder:
        return {}
    beside = {}
    for path in file.path.parent.glob("*.safetensors"):
        name = _place_in(folder, path)
        if name is not None:
            beside[name] = OpenedFile(name=name, path=path, is_read_again=file.is_read_again)
    return beside


def _hear_from_now_on() -> None:
    global _is_heard
    if not _is_heard:
        _is_heard = True
        sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or not _listening:
        return
    path, _, flags = arguments
    if isinstance(path, int) or flags & (os.O_WRONLY | os.O_RDWR):
        return
    text = os.fsdecode(path)
    if os.path.splitext(text)[1].lower() in _COUNTED:
        for each in _listening:
            each._opened(os.path.abspath(text))


def _text_of_code(path: Path) -> Path:
    """The text that a cache of Python was made from; anything else is itself."""
    if path.suffix != ".pyc":
        return path
    try:
        return Path(importlib.util.source_from_cache(str(path)))
    except (ValueError, NotImplementedError):
        return path


def _place_in(folder: Path, path: Path) -> str | None:
    for each in (path, path.resolve()):
        if each.is_relative_to(folder):
            place = each.relative_to(folder)
            return None if any(part.startswith(".") for part in place.parts) else place.as_posix()
    return None
