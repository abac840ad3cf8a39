"""The identity of a command: a hash that changes when the command or its code changes."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from batchlab.script.command import TrainingCommand

# Hash at most _MOST_FILES files, and ignore files with more than _MOST_BYTES bytes.
_MOST_FILES = 2000
_MOST_BYTES = 4 << 20
_SHELL = {".sh", ".bash", ".zsh"}
_CODE = {".py", *_SHELL}
# Files with other endings in a command, such as checkpoints, are not hashed: they change often.
_NAMED = {
    *_CODE,
    *(".yaml", ".yml", ".json", ".toml", ".ini", ".cfg", ".conf", ".gin", ".jsonnet", ".ipynb"),
    *(".pl", ".lua", ".jl", ".r", ".js", ".ts", ".c", ".cc", ".cpp", ".cu", ".go", ".rs"),
}
_SKIPPED = {"__pycache__", "node_modules", "site-packages", "venv", "env", "build", "dist"}
_TRIALS_SUFFIX = ".trials"
_MODULE = re.compile(r"(?:^|\s)(?:-m|--module)[\s=]+([A-Za-z_][\w.]*)")
_WORD = re.compile(r"[^\s'\"`=:;,&|<>()]+")


def command_identity(command: TrainingCommand) -> str:
    """Return the first 16 hexadecimal digits of a SHA-256 over the command and its files' text.

    The hash changes if a file is edited, so stored trainings of the old script are not reused. The
    files are the configuration template, the modules after `-m`, and the code and configuration
    files that are named in the arguments or in shell scripts among the arguments. The Python and
    shell files in the folders of these scripts, in the working directory, and in packages there are
    included too. Data, installed packages, outputs, hidden folders, virtual environments and the
    `.trials` folders of stores are excluded.
    """
    digest = hashlib.sha256()
    for text in (*command.arguments, command.metric, command.direction, command.pattern or ""):
        digest.update(text.encode(errors="surrogateescape") + b"\0")
    numbers = command.examples, command.batch_size, command.learning_rate, command.devices
    digest.update(repr(numbers).encode())
    for path in sorted(set(islice(_files(command), _MOST_FILES))):
        name = path.name
        if path.is_relative_to(command.place):
            name = str(path.relative_to(command.place))
        digest.update(name.encode(errors="surrogateescape") + b"\0")
        digest.update(_content(path))
    return digest.hexdigest()[:16]


def _files(command: TrainingCommand) -> Iterator[Path]:
    """Yield the files to hash: files in the arguments, then files in folders; some occur twice."""
    place = command.place
    if command.config is not None:
        yield place / command.config
    folders: list[Path] = []
    for path in named_files(command.arguments, place):
        yield path
        if path.suffix in _CODE:
            folders.append(path.parent)
    # Modules and scripts import from their own folder and from the working directory: hash both.
    for folder in dict.fromkeys([*folders, place, place / "src"]):
        yield from _code_in(folder)


def named_files(arguments: Sequence[str], place: Path) -> Iterator[Path]:
    """Yield the files whose paths are in the arguments, or in shell scripts among the arguments."""
    program = place / arguments[0]
    # A program that is given by its path may be a script without an ending.
    if os.sep in arguments[0] and _counts(program, {""}) and _content(program).startswith(b"#!"):
        yield program
    for path in (*map(place.joinpath, arguments), *_named_in(" ".join(arguments), place)):
        if not _counts(path, _NAMED):
            continue
        yield path
        if path.suffix in _SHELL:
            text = _content(path).decode(errors="replace")
            for named in _named_in(text, place, path.parent):
                if _counts(named, _NAMED):
                    yield named


def _named_in(text: str, *folders: Path) -> Iterator[Path]:
    """Yield possible paths: each word of `text` in each folder, and modules after `-m`."""
    for word in _WORD.findall(text):
        yield from (folder / word for folder in folders)
    for module in _MODULE.findall(text):
        for top in (folders[0], folders[0] / "src"):
            base = top.joinpath(*module.split("."))
            yield from (base.with_name(f"{base.name}.py"), base / "__main__.py")


def _code_in(folder: Path) -> Iterator[Path]:
    """Yield the Python and shell files of a folder and its packages, always in the same order."""
    for parent, folders, names in os.walk(folder):
        searched = []
        for name in sorted(folders):
            path = Path(parent, name)
            is_below_package = Path(parent) != folder or (path / "__init__.py").exists()
            if is_below_package and _is_searched(path):
                searched.append(name)
        folders[:] = searched
        inside = map(Path(parent).joinpath, sorted(names))
        yield from (path for path in inside if _counts(path, _CODE))


def _is_searched(folder: Path) -> bool:
    name = folder.name
    if name in _SKIPPED or name.startswith(".") or name.endswith(_TRIALS_SUFFIX):
        return False
    return folder.is_dir() and not (folder / "pyvenv.cfg").exists()


def _counts(path: Path, suffixes: set[str]) -> bool:
    try:
        is_meant = path.suffix.lower() in suffixes and path.is_file()
        return is_meant and path.stat().st_size <= _MOST_BYTES
    except (OSError, ValueError):
        return False


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
