"""WorkloadSource: the text of a workload's file and of the user's own modules that it imports."""

from __future__ import annotations

import ast
import hashlib
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from batchlab.workload.file_region import FileRegion
from batchlab.workload.fingerprint import add_region

_PACKAGE = Path(__file__).resolve().parents[1]
_STANDARD_LIBRARY = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}
_INSTALLED = {"site-packages", "dist-packages"}


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """A file of the user's code, and what it held.

    Attributes:
        path: of the file, whole.
        sha256: of its bytes, or what stands for them where they are many.
    """

    path: str
    sha256: str

    @classmethod
    def now(cls, path: str) -> SourceFile:
        """The file as it is at this moment.

        Raises:
            OSError: it cannot be read.
        """
        digest = hashlib.sha256()
        add_region(digest, FileRegion(path=path, offset=0, n_bytes=Path(path).stat().st_size))
        return cls(path=path, sha256=digest.hexdigest())

    def is_unchanged(self) -> bool:
        """Whether the file holds the same still."""
        try:
            return SourceFile.now(self.path) == self
        except OSError:  # it is gone
            return False


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A file and the user's own modules that it imports, as they were read.

    Attributes:
        text: names and texts, in a fixed order; the same wherever the files lie.
        imported: the files of the modules, by the name that each is imported as.
    """

    text: str
    imported: Mapping[str, SourceFile]


def source_of(file: Path) -> Source:
    """The text of `file` and of the user's modules that it imports.

    Imports are read and not run, so those inside functions count, and so do the imports of what is
    imported. Installed libraries, the standard library and batchlab itself do not: their versions
    are stored with every trial.

    Args:
        file: a Python file.

    Raises:
        OSError: a file cannot be read.
    """
    main = _Module(name="", file=file.resolve(), package="")
    found = {main.name: main}
    waiting = [main]
    while waiting:
        module = waiting.pop()
        for imported in _imported_by(module, folder=main.file.parent):
            if imported.name not in found and imported.file != main.file:
                found[imported.name] = imported
                waiting.append(imported)
    files = {name: SourceFile.now(str(module.file)) for name, module in found.items() if name}
    text = "\n".join(f"# {name}\n{found[name].text}" for name in sorted(found))
    return Source(text=text, imported=files)


def is_library(file: Path) -> bool:
    """Whether `file` belongs to batchlab, to the standard library or to an installed package."""
    resolved = file.resolve()
    folders = set(resolved.parents)
    return (
        _PACKAGE in folders
        or not _INSTALLED.isdisjoint(resolved.parts)
        or not _STANDARD_LIBRARY.isdisjoint(folders)
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Module:
    """A file that is imported as `name`; relative imports in it begin at `package`."""

    name: str
    file: Path
    package: str

    @property
    def text(self) -> str:
        if self.file.suffix == ".py":
            return self.file.read_text(encoding="utf-8", errors="replace")
        return hashlib.sha256(self.file.read_bytes()).hexdigest()  # an extension module


def _imported_by(module: _Module, *, folder: Path) -> Iterator[_Module]:
    for name in sorted(_imported_names(module)):
        yield from _users_modules(name, folder)


def _imported_names(module: _Module) -> set[str]:
    """Every dotted name that could be a module: `from a import b` names `a` and `a.b`."""
    if module.file.suffix != ".py":
        return set()
    try:
        tree = ast.parse(module.file.read_bytes())
    except (SyntaxError, ValueError):  # whoever imports it is told
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = module.package.split(".")
            start = parents[: len(parents) - node.level + 1] if node.level else []
            base = ".".join(part for part in (*start, node.module) if part)
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return {name for name in names if name}


def _users_modules(name: str, folder: Path) -> Iterator[_Module]:
    """The modules of the user's along a dotted name: `a`, then `a.b`."""
    path: Sequence[str] = [str(folder), *sys.path]
    reached = ""
    for part in name.split("."):
        reached = f"{reached}.{part}" if reached else part
        spec = _found(reached, path)
        if spec is None:
            return
        if spec.origin is not None and spec.has_location:
            file = Path(spec.origin).resolve()
            if is_library(file):
                return
            is_package = spec.submodule_search_locations is not None
            package = reached if is_package else reached.rpartition(".")[0]
            yield _Module(name=reached, file=file, package=package)
        path = list(spec.submodule_search_locations or ())
        if not path:
            return


def _found(name: str, path: Sequence[str]) -> ModuleSpec | None:
    spec = PathFinder.find_spec(name, path)
    if spec is not None:
        return spec
    # Some editable installs are found by a finder of their own, which importing has asked already.
    return getattr(sys.modules.get(name), "__spec__", None)
