"""CommandIdentity: a hash that changes when a command or the files it names change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from batchlab.launching.training_command import TrainingCommand

# Of the files beside a script, which it may import: so many at most, none above so many bytes.
_MOST_FILES = 500
_MOST_BYTES = 4 << 20
_SKIPPED = {"__pycache__", "node_modules", "site-packages", "venv", "env", "build", "dist"}


def command_identity(command: TrainingCommand) -> str:
    """The first 16 hexadecimal digits of a SHA-256 over the command and the text of its files.

    These are the files that its arguments name, its configuration template and the Python files in
    the folders of the scripts: so an edited script is never answered from old trainings. What the
    script reads elsewhere (data, installed packages) is not looked at.

    Args:
        command: the command.
    """
    digest = hashlib.sha256()
    for part in (*command.arguments, command.metric, command.direction, command.pattern or ""):
        digest.update(part.encode(errors="surrogateescape") + b"\0")
    digest.update(repr((command.examples, command.batch_size, command.learning_rate)).encode())
    for path in sorted(set(_files(command))):
        is_inside = path.is_relative_to(command.place)
        name = path.relative_to(command.place) if is_inside else path.name
        digest.update(str(name).encode(errors="surrogateescape") + b"\0")
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _files(command: TrainingCommand) -> Iterator[Path]:
    if command.config is not None:
        yield command.place / command.config
    for part in command.arguments:
        path = command.place / part
        if not _is_text(path):
            continue
        yield path
        if path.suffix == ".py":
            yield from _beside(path.parent)


def _beside(folder: Path) -> Iterator[Path]:
    """The Python files of a folder and of the packages in it."""
    found = [path for path in folder.glob("*.py") if _is_text(path)]
    for package in sorted(folder.iterdir()):
        if package.is_dir() and package.name not in _SKIPPED and not package.name.startswith("."):
            if (package / "__init__.py").exists():
                found += [path for path in package.rglob("*.py") if _is_text(path)]
    yield from found[:_MOST_FILES]


def _is_text(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size <= _MOST_BYTES
    except OSError:
        return False
