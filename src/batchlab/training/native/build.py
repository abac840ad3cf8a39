"""Build: C text becomes a library, kept in a cache and verified before it is loaded.

What is loaded is code. So a library and its hash lie in a folder and in files that only their owner
may read or write, and the very bytes whose hash was compared are those that are loaded.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from batchlab.cache import cache_folder
from batchlab.records.estimate import Reason
from batchlab.training.native.graph import RefusedError

_IS_X86 = platform.machine().lower() in ("x86_64", "amd64")
_PROCESSOR = ("-march=native", "-mprefer-vector-width=512") if _IS_X86 else ("-mcpu=native",)
# No -ffast-math: sums keep their order, and what is not a number stays so.
FLAGS = (
    "-O2", *_PROCESSOR, "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math",
    "-fopenmp-simd", "-fvisibility=hidden", "-std=gnu11", "-w", "-fPIC", "-shared",
)  # fmt: skip
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Library:
    """A library that was built: where it is, and the SHA-256 of its bytes."""

    path: Path
    sha256: str


def built(text: str, *, folder: Path | None = None, timeout_s: float = _TIMEOUT_S) -> Library:
    """The library of a C text, from the cache or by the compiler of this machine.

    Args:
        text: the C.
        folder: where libraries are kept; None: in the user's cache.
        timeout_s: after which the compiler is ended.

    Raises:
        RefusedError: there is no compiler, or it fails or hangs, or nothing can be written.
    """
    compiler = compiler_of_this_machine()
    if compiler is None:
        raise RefusedError(Reason.of("native_no_compiler"))
    file = os.stat(compiler)  # another version is another file
    which = [compiler, str(file.st_size), str(file.st_mtime_ns), _processor()]
    key = hashlib.sha256("\0".join([text, *FLAGS, *which]).encode()).hexdigest()
    for place in _places(folder):
        try:
            _make_own(place)
            return _kept(place / f"{key[:32]}.so") or _compiled(
                text, compiler, place / f"{key[:32]}.so", timeout_s
            )
        except OSError as error:  # it may not be written to, or is full
            failed = error
    raise RefusedError(Reason.of("native_build_failed", what=str(failed)))


def loaded(library: Library) -> ctypes.CDLL:
    """The library, from bytes that have its hash.

    Raises:
        RefusedError: the file is gone, or is another one.
    """
    try:
        content = library.path.read_bytes()
    except OSError as error:
        raise RefusedError(Reason.of("native_build_failed", what=str(error))) from error
    if hashlib.sha256(content).hexdigest() != library.sha256:
        raise RefusedError(Reason.of("native_tampered"))
    try:
        return _opened(library.sha256, content)
    except OSError as error:  # it may not be run from there
        raise RefusedError(Reason.of("native_build_failed", what=str(error))) from error


_open: dict[str, ctypes.CDLL] = {}


def _opened(digest: str, content: bytes) -> ctypes.CDLL:
    if digest in _open:
        return _open[digest]
    if hasattr(os, "memfd_create"):
        # It stays open: the linker knows libraries by name, and takes one of the same number
        # for the one that it has.
        file = os.memfd_create("batchlab-native", os.MFD_CLOEXEC)
        with open(file, "wb", closefd=False) as stream:
            stream.write(content)
        _open[digest] = ctypes.CDLL(f"/proc/self/fd/{file}")
    else:
        with tempfile.TemporaryDirectory() as folder:  # of this process only
            copy = Path(folder) / f"{digest}.so"
            copy.write_bytes(content)
            _open[digest] = ctypes.CDLL(str(copy))
    return _open[digest]


def compiler_of_this_machine() -> str | None:
    """The path of a C compiler, or None."""
    return next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)


@cache
def _processor() -> str:
    """What `-march=native` depends on."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() + platform.machine()
    of_one = [line for line in text.split("\n\n")[0].splitlines() if "MHz" not in line]
    return "\n".join(
        line for line in of_one if line.startswith(("model name", "flags", "Features"))
    )


def _places(folder: Path | None) -> Iterator[Path]:
    """Where a library may be kept, the best first."""
    with suppress(OSError):  # there is no home
        yield folder or cache_folder() / "native"
    yield Path(tempfile.gettempdir()) / f"batchlab-{os.getuid()}"


def _make_own(folder: Path) -> None:
    """Make the folder, if need be, and see that it is this user's alone."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or folder.is_symlink():
        raise PermissionError(f"{folder} is somebody else's")
    if found.st_mode & 0o077:
        folder.chmod(0o700)


def _kept(path: Path) -> Library | None:
    """What the cache has there, if it is what was written; else None."""
    try:
        if any(_is_open(file) for file in (path, path.with_suffix(".sha256"))):
            return None
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        stored = path.with_suffix(".sha256").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return Library(path, digest) if digest == stored else None


def _is_open(file: Path) -> bool:
    found = file.lstat()
    return bool(found.st_mode & 0o077) or found.st_uid != os.getuid()


def _compiled(text: str, compiler: str, path: Path, timeout_s: float) -> Library:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="build-") as name:
        source, made = Path(name) / "native.c", Path(name) / "native.so"
        source.write_text(text, encoding="utf-8")
        _run([compiler, *FLAGS, str(source), "-o", str(made), "-lm"], Path(name), timeout_s)
        content = made.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        # Beside it first: a library without its hash is built anew.
        for end, held in ((".sha256", digest.encode()), (".so", content)):
            _write_own(Path(name) / f"kept{end}", held)
            os.replace(Path(name) / f"kept{end}", path.with_suffix(end))
    return Library(path, digest)


def _write_own(path: Path, content: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(file, "wb") as stream:
        stream.write(content)


def _run(command: list[str], folder: Path, timeout_s: float) -> None:
    """Run a compiler in a process group of its own, so that all of it can be ended."""
    environment = {**os.environ, "TMPDIR": str(folder), "LC_ALL": "C"}
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env=environment,
    ) as process:
        try:
            _, said = process.communicate(timeout=timeout_s)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise RefusedError(Reason.of("native_compiler_hangs", seconds=timeout_s)) from error
            raise
    if process.returncode:
        lines = said.decode("utf-8", "replace").strip().splitlines()
        what = lines[0] if lines else f"it ended with {process.returncode}"
        raise RefusedError(Reason.of("native_build_failed", what=what))
